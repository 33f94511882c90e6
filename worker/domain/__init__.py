"""What is true about a return: pure values and decisions, standard library only."""
