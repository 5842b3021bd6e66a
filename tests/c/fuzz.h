/* fuzz.h: what libFuzzer calls, by make fuzz, and the corpus test, by make ctest.
 *
 * Purpose:   properties of the engine over any bytes; one that does not hold aborts.
 * Ownership: the bytes are the caller's.
 * Threading: one thread.
 * Limits:    none on the length of the input.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* The codecs: what is decoded, and what rest says of each way to cut a frame, is consistent; a
 * message that is encoded decodes to itself. */
int fuzz_codec(const uint8_t *data, size_t len);

/* The reactor: a peer's bytes in pieces give the messages of the same bytes in one piece. */
int fuzz_receive(const uint8_t *data, size_t len);

/* Frees what fuzz_receive keeps from one call to the next. */
void fuzz_receive_end(void);

#endif
