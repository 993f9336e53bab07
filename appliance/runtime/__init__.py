"""What any asyncio daemon of ours needs; nothing here knows of sales."""
