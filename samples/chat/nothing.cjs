// Stands in for packages that the chat does not use.
