/* Loaded with LD_PRELOAD into programs of test_lookup.py: a name server that does not answer.
 *
 * getaddrinfo never returns for names that end in ".silent". "pair" is 127.0.0.2, then 127.0.0.1.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
  look_up *real = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");
  const char *end = host ? strrchr(host, '.') : NULL;
  int numeric = hints && hints->ai_flags & AI_NUMERICHOST;
  if (!numeric && end && strcmp(end, ".silent") == 0)
    for (;;) pause();
  if (numeric || !host || strcmp(host, "pair") != 0) return real(host, service, hints, found);
  int result = real("127.0.0.2", service, hints, found);
  return result ? result : real("127.0.0.1", service, hints, &(*found)->ai_next);
}
