/* fs_length.h: the header of length framing: the payload's length, 32 bits, big-endian. */
#ifndef FS_LENGTH_H
#define FS_LENGTH_H

#include <arpa/inet.h>
#include <string.h>

#include "base/fs_base.h"

enum { FS_LENGTH_BYTES = 4 };

static inline void fs_length_pack(uint8_t *header, size_t len) {
  uint32_t packed = htonl((uint32_t)len);
  memcpy(header, &packed, FS_LENGTH_BYTES);
}

static inline size_t fs_length_unpack(const uint8_t *header) {
  uint32_t packed;
  memcpy(&packed, header, FS_LENGTH_BYTES);
  return ntohl(packed);
}

#endif
