"""One asyncio program per role that ties engines, data plane, kernel and store together."""
