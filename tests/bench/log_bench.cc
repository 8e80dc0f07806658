// What a log costs. A JSON object a line; appends to it.
//   log_bench PLACE SECONDS                  the wait of one append alone, appends per second of 64 that wait each for
//                                            its answer, the time from an append to a woken reader that has it, the
//                                            resident set
//   log_bench PLACE SECONDS APPENDERS…       appends per second of so many that wait each for its answer, and their wait
// PLACE as in events/log_place.h.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>

#include "events/embedded_log.h"
#include "events/kafka_log.h"

using namespace reprise;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t entry_bytes = 400;  // what an intent has that asks for a server

double since_ms(Clock::time_point then) {
  return std::chrono::duration<double, std::milli>(Clock::now() - then).count();
}

void print(const char* name, double value, const char* unit) {
  fmt::print("{{\"name\":\"{}\",\"value\":{:.3f},\"unit\":\"{}\"}}\n", name, value, unit);
  std::fflush(stdout);
}

void print_percentiles(const std::string& name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  print((name + ".p50").c_str(), values[values.size() / 2], "ms");
  print((name + ".p99").c_str(), values[values.size() * 99 / 100], "ms");
  print((name + ".p999").c_str(), values[values.size() * 999 / 1000], "ms");
}

double resident_mib() {
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// Waits for one thing at a time, set from another thread.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_one();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
    open_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

void must(const Result<std::int64_t>& answer) {
  if (answer) return;
  fmt::print(stderr, "{}\n", answer.error().text);
  _exit(1);
}

void append_alone(Producer& producer, double seconds) {
  Gate answered;
  std::vector<double> waits;
  const auto begin = Clock::now();
  while (since_ms(begin) < seconds * 1000) {
    const auto sent = Clock::now();
    producer.append(Topic::intents, Bytes(entry_bytes, 'x'), [&](Result<std::int64_t> answer) {
      must(answer);
      answered.open();
    });
    answered.wait();
    waits.push_back(since_ms(sent));
  }
  print("append.first", waits.front(), "ms");
  if (waits.size() > 1) waits.erase(waits.begin());
  print_percentiles("append.alone", waits);
}

// So many that append again as soon as they are answered.
void append_together(Producer& producer, double seconds, int appenders) {
  std::mutex mutex;
  std::condition_variable answered;
  int free = appenders;
  std::vector<double> waits;
  const auto begin = Clock::now();
  while (since_ms(begin) < seconds * 1000) {
    int now = 0;
    {
      std::unique_lock lock(mutex);
      answered.wait(lock, [&] { return free > 0; });
      now = std::exchange(free, 0);
    }
    for (int i = 0; i < now; ++i) {
      producer.append(Topic::intents, Bytes(entry_bytes, 'x'), [&, sent = Clock::now()](Result<std::int64_t> answer) {
        must(answer);
        const std::lock_guard lock(mutex);
        ++free;
        waits.push_back(since_ms(sent));
        answered.notify_one();
      });
    }
  }
  std::unique_lock lock(mutex);
  answered.wait(lock, [&] { return free == appenders; });
  const std::string name = fmt::format("append.together{}", appenders);
  print(name.c_str(), static_cast<double>(waits.size()) / since_ms(begin) * 1000, "per s");
  print_percentiles(name, waits);
}

void append_to_read(Log& log, Producer& producer, std::int64_t end, double seconds) {
  Gate woken;
  const auto opened = Clock::now();
  auto reader = *log.open_reader(Topic::events, end, [&] { woken.open(); });
  std::vector<double> waits;
  const auto begin = Clock::now();
  while (since_ms(begin) < seconds * 1000) {
    const auto sent = Clock::now();
    producer.append(Topic::events, Bytes(entry_bytes, 'x'), must);
    for (auto polled = reader->poll(10); !polled || polled->empty(); polled = reader->poll(10)) woken.wait();
    if (waits.empty()) print("read.first", since_ms(opened), "ms");
    waits.push_back(since_ms(sent));
  }
  print_percentiles("append.to_read", waits);
}

std::int64_t ask_ends(Log& log, double seconds) {
  Gate answered;
  std::int64_t end = 0;
  std::vector<double> waits;
  const auto begin = Clock::now();
  while (since_ms(begin) < seconds * 1000) {
    const auto sent = Clock::now();
    log.end(Topic::events, [&](Result<std::int64_t> answer) {
      must(answer);
      end = *answer;
      answered.open();
    });
    answered.wait();
    waits.push_back(since_ms(sent));
  }
  print_percentiles("end", waits);
  return end;
}

Result<std::unique_ptr<Log>> open(const std::string& text) {
  auto place = parse_log_place(text);
  if (!place) return place.error();
  if (const auto* embedded = std::get_if<EmbeddedPlace>(&*place)) return open_embedded_log(embedded->dir);
  return open_kafka_log(std::get<KafkaPlace>(*place));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: log_bench PLACE SECONDS [APPENDERS]…\n");
    return 2;
  }
  const double seconds = std::atof(argv[2]);
  print("resident.before", resident_mib(), "MiB");
  const auto begin = Clock::now();
  const auto log = open(argv[1]);
  if (!log) {
    fmt::print(stderr, "{}\n", log.error().text);
    return 1;
  }
  const auto producer = *(*log)->open_producer();
  print("open", since_ms(begin), "ms");
  print("resident.open", resident_mib(), "MiB");
  append_alone(*producer, argc == 3 ? seconds : 0.1);  // a session's first append is slow
  for (int i = 3; i < argc; ++i) append_together(*producer, seconds, std::atoi(argv[i]));
  if (argc > 3) return 0;
  append_together(*producer, seconds, 64);
  const auto end = ask_ends(**log, seconds);
  append_to_read(**log, *producer, end, seconds);
  print("resident.after", resident_mib(), "MiB");
  return 0;
}
