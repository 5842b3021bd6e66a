"""Python values and their bytes: MessagePack for what the annotations allow, and exceptions."""
