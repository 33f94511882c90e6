"""What is done to the database now and then, mostly by a person: the loop needs none of it."""
