"""The Wyoming protocol: Home Assistant's recogniser, voice and conversation are this server's."""
