"""From a configuration to sockets that answer: addresses, certificates, uvicorn, signals."""
