"""The rows of process state that a reset restores, one class a kind; each knows how to read, compare and put itself back."""
