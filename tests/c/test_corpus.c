/* The corpora of make fuzz, each file once: what fuzzing has found stays mended. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fuzz.h"

static void run_files(const char *directory, int (*target)(const uint8_t *, size_t)) {
  DIR *files = opendir(directory);
  CHECK(files);
  int count = 0;
  for (struct dirent *entry; (entry = readdir(files));) {
    char path[512];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
    FILE *file = fopen(path, "rb");
    CHECK(file && fseek(file, 0, SEEK_END) == 0);
    size_t len = (size_t)ftell(file);
    rewind(file);
    /* A block of just their size: the sanitizer sees a step too far. */
    uint8_t *data = malloc(len ? len : 1);
    CHECK(fread(data, 1, len, file) == len);
    fclose(file);
    CHECK_INT(target(data, len), 0);
    free(data);
    count++;
  }
  closedir(files);
  CHECK(count > 5);
}

static void codecs(void) { run_files("corpus/codec", fuzz_codec); }

static void receiving(void) {
  run_files("corpus/receive", fuzz_receive);
  fuzz_receive_end();
}

CHECK_UNIT(TEST(codecs), TEST(receiving))
