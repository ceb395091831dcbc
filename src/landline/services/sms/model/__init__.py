"""Pure decisions of SMS: states, identifiers, detail codes, keywords. No I/O, no clock."""
