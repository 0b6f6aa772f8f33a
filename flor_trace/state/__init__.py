"""See which objects a loop changed; turn them into bytes and back."""
