/* fs_kernel.h: what the engine needs of the kernel beside sockets.
 *
 * Purpose:   says in words which system call is missing when a server cannot be opened.
 * Ownership: none.
 * Threading: safe from any thread.
 * Limits:    a call that is there and fails otherwise, for want of descriptors for example, is not
 *            missing.
 */
#ifndef FS_KERNEL_H
#define FS_KERNEL_H

/* The first system call of those that a server makes when it opens that the kernel does not have
 * or forbids, as "memfd_create, which Linux has since 3.17"; NULL if all are there. */
const char *fs_kernel_lacks(void);

#endif
