// One byte of one file of a copied log is another, at a random place. What is read of it must be right, and it
// must either say where it ends being right, or be whole: then the byte was none of the log's content, and that
// is known because every entry of every topic reads the same, and `verify` comes to the head known beforehand.
// In the same way the projection: its state is right, or it was folded anew.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "controlplane/cli/verify.h"
#include "tests/fire/cloud.h"

namespace reprise::fire {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t records = 400;
constexpr std::uint64_t flips_per_cloud = 2500;

struct Flipped {
  fs::path file;
  std::uint64_t at = 0;
  unsigned bit = 0;

  void flip() const {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(stream.get() ^ (1u << bit));
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(byte);
  }
  std::string kind() const {
    const auto name = file.filename().string();
    if (file.extension() == ".sst" || file.extension() == ".log") return file.extension().string().substr(1);
    return name.substr(0, name.find_first_of("-."));
  }
};

// Any byte of the folder, each as likely.
Flipped any_byte(const std::string& dir, sim::Prng& prng) {
  std::vector<std::pair<fs::path, std::uint64_t>> files;
  std::uint64_t bytes = 0;
  for (const auto& file : fs::directory_iterator(dir)) {
    if (file.file_size() == 0) continue;
    files.emplace_back(file.path(), file.file_size());
    bytes += file.file_size();
  }
  std::sort(files.begin(), files.end());
  auto at = prng.below(bytes);
  for (const auto& [path, size] : files) {
    if (at < size) return {path, at, static_cast<unsigned>(prng.below(8))};
    at -= size;
  }
  CHECK(false);
}

// A cloud with tables, write-ahead logs and both: it is closed and opened again a few times on the way.
struct Cloud {
  Cloud(const Trial& trial, std::uint64_t number, sim::Prng& prng)
      : history(History::make(trial.seed + number, records)), place(trial.place(number, history)) {
    options.now_ms = [] { return 1'700'000'000'000; };  // nothing gets too old
    for (int opened = 0; opened < 4; ++opened) {
      const auto log = *open_embedded_log(place.log(), options);
      Writer writer(*log, history, [this](Topic topic, std::int64_t offset) { ends[index_of(topic)] = offset + 1; });
      CHECK(writer.open().ok());
      const auto until = (records * (opened + 1)) / 4;
      while (static_cast<std::size_t>(*log->end_here(Topic::events)) < until && writer.append(prng, 1)) {
      }
      CHECK(writer.settle().ok());
      auto projection = *Projection::open(*log, place.projection_options());
      projection->start();
      CHECK(caught_up(*projection).ok());
    }
  }
  cli::KnownHead head() const { return {records, history[records - 1].hash, "the trial"}; }

  const History history;
  const Place place;
  EmbeddedLogOptions options = place.log_options();
  std::array<std::int64_t, topic_count> ends{};
};

// Where a log says that it stops being right; none: it reads to its end.
struct Read {
  std::string damage;
  bool named = false;  // with the offset, or the file
};

// An error: something was read that is not so.
Result<Read> read_topic(Log& log, const Cloud& cloud, Topic topic) {
  auto reader = log.open_reader(topic, 0, [] {});
  if (!reader) return reader.error();
  std::int64_t next = 0;
  while (true) {
    const auto entries = (*reader)->poll(500);
    if (!entries) {
      const auto where = fmt::format("{} at offset {}", topic_name(topic), next);
      return Read{entries.error().text, entries.error().text.find(where) != std::string::npos};
    }
    if (entries->empty()) break;
    for (const auto& entry : *entries) {
      if (entry.offset != next || entry.bytes != cloud.history.entry(topic, next))
        return Error{Errc::broken, fmt::format("{} reads another entry at {}", topic_name(topic), entry.offset)};
      ++next;
    }
  }
  if (next != cloud.ends[index_of(topic)])
    return Error{Errc::broken, fmt::format("{} silently ends at {} instead of {}", topic_name(topic), next,
                                           cloud.ends[index_of(topic)])};
  return Read{};
}

// What a reader of the copy is told: "refused", "named" or "harmless".
Result<std::string> judge_log(const std::string& dir, const Cloud& cloud) {
  const auto log = open_embedded_log_read_only(dir, cloud.options);
  if (!log) {
    // Who writes must not take it either.
    const auto writable = open_embedded_log(dir, cloud.options);
    if (writable) return Error{Errc::broken, "it opens for writing, but not for reading: " + log.error().text};
    return std::string("refused");
  }
  bool damaged = false;
  for (int i = 0; i < topic_count; ++i) {
    const auto read = read_topic(**log, cloud, static_cast<Topic>(i));
    if (!read) return read.error();
    damaged |= !read->damage.empty();
    if (!read->damage.empty() && !read->named) return Error{Errc::broken, "not named with its offset: " + read->damage};
  }
  const auto verified = cli::verify_log(**log, {cloud.head()});
  if (!verified) return verified.error();
  const bool whole = verified->broken.empty();
  if (whole && verified->head.seq != records) return Error{Errc::broken, "verify is content with less than all"};
  if (!whole && !damaged) return Error{Errc::broken, "verify finds what reading did not: " + verified->broken};
  if (!damaged) return std::string("harmless");
  if (whole) return std::string("named, of another topic");
  return std::string(verified->broken_after == records ? "named, after the last" : "named with its seq");
}

Result<std::string> judge_projection_once(const Place& damaged, const Cloud& cloud) {
  const auto log = open_embedded_log_read_only(cloud.place.log(), cloud.options);
  if (!log) return log.error();
  auto opened = Projection::open(**log, damaged.projection_options());
  if (!opened) return opened.error();
  auto& projection = **opened;
  projection.start();
  if (auto status = caught_up(projection); !status) return status.error();
  const bool at_start = !projection.status().rebuilt_because.empty();
  bool met = false;
  // All of the past, and all records: what a reader meets is made anew under its eyes.
  for (Seq seq = 1; seq <= records; seq += 40) {
    const auto& want = cloud.history[seq - 1];
    const auto right = [&]() -> Status {
      const auto view = projection.view_at(seq);
      if (!view) return view.error();
      const auto state = load_state(*view);
      if (!state) return state.error();
      if (state->digest() != want.record.digest) return {Errc::broken, "another past, and nothing was said"};
      const auto tail = view->tail(seq);
      if (!view->status()) return view->status();
      if (tail && *tail != want.bytes) return {Errc::broken, "another record, and nothing was said"};
      return {};
    };
    auto status = right();
    if (!status && status.error().code == Errc::conflict) {
      met = true;
      while (projection.status().rebuilt_because.empty()) std::this_thread::yield();
      if (auto again = caught_up(projection); !again) return again.error();
      while (!(status = right()) && (status.error().code == Errc::conflict || status.error().code == Errc::not_found))
        if (auto again = caught_up(projection); !again) return again.error();
    }
    if (!status) return Error{status.error().code, fmt::format("seq {}: {}", seq, status.error().text)};
  }
  if (projection.digest() != cloud.history[records - 1].record.digest) return Error{Errc::broken, "another state"};
  return std::string(at_start ? "anew at start" : met ? "anew when read" : "harmless");
}

Result<std::string> judge_projection(const Place& damaged, const Cloud& cloud) {
  auto outcome = judge_projection_once(damaged, cloud);
  // RocksDB met it in the background, and takes nothing any more: the process ends, and is started again.
  if (outcome || outcome.error().text.find("when this is started again") == std::string::npos) return outcome;
  outcome = judge_projection_once(damaged, cloud);
  if (outcome && *outcome != "anew at start") return Error{Errc::broken, "started again, and it is " + *outcome};
  return outcome ? Result<std::string>(std::string("anew when started again")) : outcome;
}

void copy(const std::string& from, const std::string& to) {
  fs::remove_all(to);
  fs::create_directories(to);
  fs::copy(from, to, fs::copy_options::recursive);
}

}  // namespace

int run_flips(const Trial& trial) {
  sim::Prng prng(trial.seed);
  std::map<std::string, std::uint64_t> outcomes;  // by what was flipped, and what became of it
  std::uint64_t flips = 0;
  for (std::uint64_t number = 0; flips < trial.count; ++number) {
    const Cloud cloud(trial, number, prng);
    const std::string copied = trial.folder + "/copied";
    const Place damaged{trial.folder + "/damaged"};
    for (std::uint64_t i = 0; i < flips_per_cloud && flips < trial.count; ++i, ++flips) {
      const bool of_log = prng.below(20) != 0;
      const auto from = of_log ? cloud.place.log() : cloud.place.projection();
      const auto to = of_log ? copied : damaged.projection();
      if (i == 0) copy(cloud.place.log(), copied);  // a reader changes nothing: it serves for all
      if (!of_log) fs::remove_all(damaged.dir), copy(cloud.place.projection(), to);
      const auto byte = any_byte(from, prng);
      const Flipped there{fs::path(to) / byte.file.filename(), byte.at, byte.bit};
      there.flip();
      const auto outcome = of_log ? judge_log(copied, cloud) : judge_projection(damaged, cloud);
      if (!outcome)
        return trial.wrong(flips, fmt::format("bit {} of byte {} of {}: {}", there.bit, there.at,
                                              there.file.string(), outcome.error().text));
      ++outcomes[fmt::format("{} {}: {}", of_log ? "log" : "projection", byte.kind(), *outcome)];
      there.flip();
      trial.progress(flips, *outcome);
    }
    fs::remove_all(cloud.place.dir);
  }
  std::string fields, words;
  for (const auto& [what, count] : outcomes) {
    fields += fmt::format("{}\"{}\":{}", fields.empty() ? "" : ",", what, count);
    words += fmt::format("\n  {:6} {}", count, what);
  }
  return trial.well(fmt::format("\"flips\":{},\"silent\":0,\"outcomes\":{{{}}}", flips, fields),
                    fmt::format("{} bytes, nothing silently wrong or shortened:{}", flips, words));
}

}  // namespace reprise::fire
