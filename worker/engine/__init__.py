"""What we do: the imperative shell around `decide`, from a claimed row to a recorded decision."""
