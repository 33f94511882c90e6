"""What we do: the imperative shell around `decide`, from what is due to a recorded decision."""
