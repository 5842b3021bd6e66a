/* fs_list.h: an intrusive, circular, doubly linked list.
 *
 * Purpose:   O(1) membership for connections that wait for something.
 * Ownership: a link lives inside its owner; the list owns nothing.
 * Threading: the caller's.
 * Limits:    none.
 */
#ifndef FS_LIST_H
#define FS_LIST_H

#include <stdbool.h>

typedef struct fs_list {
  struct fs_list *prev, *next;
} fs_list;

static inline void fs_list_init(fs_list *list) { list->prev = list->next = list; }

/* Also the test "is this link in no list". */
static inline bool fs_list_empty(const fs_list *list) { return list->next == list; }

static inline void fs_list_push(fs_list *list, fs_list *link) {
  link->prev = list->prev;
  link->next = list;
  list->prev->next = link;
  list->prev = link;
}

/* Removing a link that is in no list does nothing. */
static inline void fs_list_remove(fs_list *link) {
  link->prev->next = link->next;
  link->next->prev = link->prev;
  fs_list_init(link);
}

/* Moves all links of src, in order, to the empty list dst. */
static inline void fs_list_take(fs_list *dst, fs_list *src) {
  fs_list_init(dst);
  if (fs_list_empty(src)) return;
  *dst = *src;
  dst->next->prev = dst;
  dst->prev->next = dst;
  fs_list_init(src);
}

/* Moves all links of src, in order, behind those of dst. */
static inline void fs_list_append(fs_list *dst, fs_list *src) {
  while (!fs_list_empty(src)) {
    fs_list *link = src->next;
    fs_list_remove(link);
    fs_list_push(dst, link);
  }
}

/* Safe against removal of the current link only. */
#define FS_LIST_EACH(link, list)                                                \
  for (fs_list *link = (list)->next, *link##_next = link->next; link != (list); \
       link = link##_next, link##_next = link->next)

#endif
