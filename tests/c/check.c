#include "check.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static check_unit *units;

void check_enlist(check_unit *unit) {
  unit->next = units;
  units = unit;
}

void check_int(const char *file, int line, const char *what, int64_t actual, int64_t expected) {
  if (actual == expected) return;
  fprintf(stderr, "%s:%d: %s is %" PRId64 ", not %" PRId64 "\n", file, line, what, actual,
          expected);
  _exit(1);
}

void check_bytes(const char *file, int line, const void *actual, size_t actual_len,
                 const void *expected, size_t expected_len) {
  const uint8_t *a = actual, *b = expected;
  size_t same = 0, least = actual_len < expected_len ? actual_len : expected_len;
  while (same < least && a[same] == b[same]) same++;
  if (actual_len == expected_len && same == least) return;
  fprintf(stderr, "%s:%d: %zu bytes, not %zu; the first %zu are right", file, line, actual_len,
          expected_len, same);
  if (same < least) fprintf(stderr, ", then comes %#x, not %#x", a[same], b[same]);
  fprintf(stderr, "\n");
  _exit(1);
}

int check_fd_count(void) {
  int count = 0;
  DIR *dir = opendir("/proc/self/fd");
  CHECK(dir);
  while (readdir(dir)) count++;
  closedir(dir);
  return count;
}

uint32_t check_random(void) {
  static uint64_t state = 1;
  state = state * 6364136223846793005 + 1442695040888963407;
  return (uint32_t)(state >> 33);
}

static bool passes(const check_test *test) {
  int status = 0;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    alarm(CHECK_SECONDS_MAX);
    int fd_count = check_fd_count();
    test->run();
    CHECK_INT(check_fd_count(), fd_count);
    exit(0);
  }
  waitpid(child, &status, 0);
  if (status == 0) return true;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    printf("FAILED %s: no end within %d s\n", test->name, CHECK_SECONDS_MAX);
  else if (WIFSIGNALED(status))
    printf("FAILED %s: %s\n", test->name, strsignal(WTERMSIG(status)));
  else
    printf("FAILED %s\n", test->name);
  return false;
}

/* Runs the files and tests that the arguments name, or all. */
int main(int argc, char **argv) {
  int passed = 0, failed = 0;
  for (const check_unit *unit = units; unit; unit = unit->next)
    for (size_t i = 0; i < unit->count; i++) {
      bool wanted = argc == 1;
      for (int arg = 1; arg < argc; arg++)
        wanted |= !strcmp(argv[arg], unit->file) || !strcmp(argv[arg], unit->tests[i].name);
      if (!wanted) continue;
      bool fine = passes(&unit->tests[i]);
      passed += fine;
      failed += !fine;
    }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0;
}
