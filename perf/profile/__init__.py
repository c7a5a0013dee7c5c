"""Tools that show where the time goes: event loop, layers, single steps, batching policy, nginx."""
