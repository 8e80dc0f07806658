// A process that appends to an embedded log until it is killed, for log_embedded_folder_test. Prints a line
// for every append that was answered: "TOPIC NUMBER OFFSET".
//   log_appender DIR ROUND
#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>

#include "events/embedded_log.h"

using namespace reprise;

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto log = open_embedded_log(argv[1]);
  if (!log) {
    std::fprintf(stderr, "%s\n", log.error().text.c_str());
    return 1;
  }
  const auto producer = *(*log)->open_producer();
  std::mutex mutex;
  std::condition_variable answered;
  int open = 0;
  for (int number = 0;; ++number) {
    for (const Topic topic : {Topic::intents, Topic::reports, Topic::events}) {
      {
        std::unique_lock lock(mutex);
        answered.wait(lock, [&] { return open < 20; });
        ++open;
      }
      producer->append(topic, fmt::format("{} {}", argv[2], number),
                       [&, topic, number](Result<std::int64_t> offset) {
                         if (!offset) _exit(1);
                         const auto line = fmt::format("{} {} {}\n", index_of(topic), number, *offset);
                         if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(1);
                         const std::lock_guard lock(mutex);
                         --open;
                         answered.notify_one();
                       });
    }
  }
}
