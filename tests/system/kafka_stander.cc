// A process that stands for the controller's place, for kafka_log_test: prints "elected" or "not" at each
// change.
//   kafka_stander BROKERS CLUSTER
#include <unistd.h>

#include <condition_variable>
#include <mutex>

#include "events/kafka_log.h"

using namespace reprise;

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto log = open_kafka_log({argv[1], argv[2]});
  if (!log) return 1;
  std::mutex mutex;
  std::condition_variable changed;
  int wakes = 0;
  const auto candidacy = (*log)->stand([&] {
    const std::lock_guard lock(mutex);
    ++wakes;
    changed.notify_one();
  });
  std::unique_lock lock(mutex);
  for (int seen = 0;; seen = wakes) {
    changed.wait(lock, [&] { return wakes > seen; });
    const char* word = candidacy->elected() ? "elected\n" : "not\n";
    if (::write(STDOUT_FILENO, word, candidacy->elected() ? 8 : 4) < 0) return 1;
  }
}
