"""The process: socket, uvicorn, signals, drain, and several of them."""
