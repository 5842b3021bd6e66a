# How the codecs of csrc are called by users.
from fastsock._csrc cimport fs_codec, fs_codec_length, fs_codec_line, fs_codec_raw


cdef inline const fs_codec *codec_of(str framing) noexcept:
    """Return the codec of a framing that was checked: "line", "length" or "raw"."""
    if framing == "line":
        return &fs_codec_line
    return &fs_codec_length if framing == "length" else &fs_codec_raw
