#include "engine/fs_pace.h"

void fs_pace_full(fs_pace *pace, uint64_t now_ns, uint64_t bytes_sent) {
  if (pace->since_ns) {
    pace->full_ns += now_ns - pace->since_ns;
    pace->full_bytes += bytes_sent - pace->since_bytes;
  }
  pace->since_ns = now_ns;
  pace->since_bytes = bytes_sent;
}

void fs_pace_age(fs_pace *pace, uint64_t now_ns, uint64_t window_ns) {
  if (now_ns - pace->aged_ns < window_ns) return;
  pace->full_ns /= 2;
  pace->full_bytes /= 2;
  pace->aged_ns = now_ns;
}

uint64_t fs_pace_speed(const fs_pace *pace, uint64_t now_ns, uint64_t bytes_sent,
                       uint64_t known_ns) {
  uint64_t ns = pace->full_ns, bytes = pace->full_bytes;
  if (pace->since_ns) {
    ns += now_ns - pace->since_ns;
    bytes += bytes_sent - pace->since_bytes;
  }
  if (ns == 0 || ns < known_ns) return FS_PACE_UNKNOWN;
  return (uint64_t)((double)bytes * 1e9 / (double)ns);
}

void fs_pace_hold(fs_pace *pace, uint64_t from_ns, uint64_t until_ns) {
  uint64_t forgiven_ns = (until_ns - pace->held_until_ns) / FS_PACE_WINDOW;
  pace->held_ns -= fs_min(pace->held_ns, forgiven_ns);
  pace->held_ns += until_ns - from_ns;
  pace->held_until_ns = until_ns;
}
