#include "engine/fs_pace.h"

void fs_pace_full(fs_pace *pace, uint64_t now_ns, uint64_t taken) {
  if (pace->since_ns) {
    pace->full_ns += now_ns - pace->since_ns;
    pace->full_bytes += taken - fs_min(taken, pace->since_bytes);
  }
  pace->since_ns = now_ns;
  pace->since_bytes = taken;
}

void fs_pace_drained(fs_pace *pace, uint64_t now_ns, uint64_t taken) {
  fs_pace_full(pace, now_ns, taken);
  pace->since_ns = 0;
}

void fs_pace_look(fs_pace *pace, uint64_t now_ns, uint64_t taken, bool is_long, uint64_t apart_ns) {
  if (is_long && pace->queued_ns && now_ns - pace->queued_ns <= apart_ns) {
    pace->full_ns += now_ns - pace->queued_ns;
    pace->full_bytes += taken - fs_min(taken, pace->queued_bytes);
  }
  pace->queued_ns = is_long ? now_ns : 0;
  pace->queued_bytes = taken;
}

void fs_pace_age(fs_pace *pace, uint64_t now_ns, uint64_t window_ns, uint64_t known_ns) {
  if (now_ns - pace->aged_ns < window_ns || pace->full_ns < 2 * known_ns) return;
  pace->full_ns /= 2;
  pace->full_bytes /= 2;
  pace->aged_ns = now_ns;
}

uint64_t fs_pace_speed(const fs_pace *pace, uint64_t now_ns, uint64_t taken, uint64_t known_ns) {
  uint64_t ns = pace->full_ns, bytes = pace->full_bytes;
  if (pace->since_ns) {
    ns += now_ns - pace->since_ns;
    bytes += taken - fs_min(taken, pace->since_bytes);
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
