"""What a person may ask or do: values in, values out; nothing here prints, or ends a process."""
