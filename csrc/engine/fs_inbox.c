#include "engine/fs_inbox.h"

#include <errno.h>
#include <string.h>

enum { FIRST_CAP = 256 };

int fs_inbox_push(fs_inbox **inbox, const uint8_t *data, size_t len) {
  size_t used = *inbox ? (*inbox)->len : 0, cap = *inbox ? (*inbox)->cap : 0;
  if (len == 0) return 0;
  if (used + len > cap) {
    for (cap = fs_max(cap, (size_t)FIRST_CAP); cap < used + len;) cap *= 2;
    fs_inbox *grown = realloc(*inbox, sizeof *grown + cap);
    if (!grown) return -ENOMEM;
    grown->cap = cap;
    *inbox = grown;
  }
  memcpy((*inbox)->data + used, data, len);
  (*inbox)->len = used + len;
  return 0;
}

void fs_inbox_retire(fs_inbox **inbox, fs_inbox **retired) {
  if (!*inbox) return;
  (*inbox)->next = *retired;
  *retired = *inbox;
  *inbox = NULL;
}

void fs_inbox_free_all(fs_inbox **retired) {
  while (*retired) {
    fs_inbox *gone = *retired;
    *retired = gone->next;
    free(gone);
  }
}
