#include "agents/core/outbox.h"

#include <algorithm>

namespace reprise {
namespace {

constexpr std::int64_t reopen_ms = 500;          // between sessions
constexpr std::int64_t look_ms = 30'000;
constexpr std::size_t objects_max = 256;         // in one report: each may bring several events, in one record
constexpr std::size_t part_bytes_max = 64 * 1024;
constexpr std::size_t error_bytes_max = 2'000;
constexpr std::size_t volumes_max = 1'000;       // attached to one server
constexpr std::size_t acknowledged_max = 64;     // kept, should they be lost
constexpr std::size_t kept_max = 1024;

void cut(std::string& error) {
  if (error.size() <= error_bytes_max) return;
  std::size_t end = error_bytes_max;
  while (end > 0 && (static_cast<unsigned char>(error[end]) & 0xc0) == 0x80) --end;  // not within a character
  error.resize(end);
  error += "…";
}

// What alone would fill a report is cut, never lost without a word.
void cut(Observed& observed) {
  cut(observed.trouble);
  for (auto& one : observed.servers) {
    cut(one->error), cut(one->paused);
    if (one->volumes.size() <= volumes_max) continue;
    one->error = "it has " + std::to_string(one->volumes.size()) + " volumes attached, more than can be reported";
    one->volumes.clear();  // with an error nothing is concluded of them
  }
  for (auto& one : observed.disks) cut(one->error);
  for (auto& one : observed.ports) cut(one->error);
}

std::size_t objects(const Observed& one) { return one.servers.size() + one.disks.size() + one.ports.size() + one.fences.size(); }

// The second half of a list goes.
template <class Seen>
void halve(std::vector<std::unique_ptr<Seen>>& from, std::vector<std::unique_ptr<Seen>>& to) {
  const auto middle = from.begin() + static_cast<std::ptrdiff_t>((from.size() + 1) / 2);
  to.assign(std::make_move_iterator(middle), std::make_move_iterator(from.end()));
  from.erase(middle, from.end());
}

}  // namespace

Outbox::Outbox(Log& log, NodeId node, std::function<void()> wake) : log_(log), node_(node), wake_(std::move(wake)) {}

void Outbox::begin(Seq incarnation) {
  std::lock_guard lock(mutex_);
  incarnation_ = incarnation;
  next_ = 1;
  kept_.clear();
  lost_ = false;
}

void Outbox::open_locked() {
  if (producer_ && !session_->failed) return;
  producer_.reset();
  auto opened = log_.open_producer();
  if (!opened) return;
  session_ = std::make_shared<Session>();
  producer_ = std::move(*opened);
  for (const auto& kept : kept_)
    if (kept.offset < 0) append_locked(Topic::reports, kept.bytes, kept.number);
}

void Outbox::append_locked(Topic topic, Bytes bytes, std::uint64_t number) {
  if (!producer_) return;
  const auto incarnation = incarnation_;
  producer_->append(topic, std::move(bytes), [session = session_, wake = wake_, number, incarnation](Result<std::int64_t> offset) {
    if (offset && number) {
      const std::lock_guard lock(session->mutex);
      session->offsets[{incarnation, number}] = *offset;
    }
    if (offset || offset.error().code == Errc::invalid) return;
    session->failed = true;
    wake();
  });
}

// What was acknowledged since the last look.
void Outbox::note_offsets_locked() {
  if (!session_) return;
  std::map<std::pair<Seq, std::uint64_t>, std::int64_t> offsets;
  {
    const std::lock_guard lock(session_->mutex);
    offsets.swap(session_->offsets);
  }
  for (auto& kept : kept_)
    if (const auto at = offsets.find({incarnation_, kept.number}); at != offsets.end()) kept.offset = at->second;
  const auto acknowledged = [&] { return static_cast<std::size_t>(std::ranges::count_if(kept_, [](const Kept& one) { return one.offset >= 0; })); };
  for (auto count = acknowledged(); count > acknowledged_max && kept_.front().offset >= 0; --count) kept_.pop_front();
}

void Outbox::send_parts_locked(Observed observed) {
  const std::size_t count = objects(observed);
  Report report{.node = node_, .incarnation = incarnation_, .number = next_};
  report.body.Set(std::move(observed));
  Bytes bytes = encode(report);
  if (count > 1 && (count > objects_max || bytes.size() > part_bytes_max)) {
    Observed& first = *report.body.AsObserved();
    Observed rest;
    rest.agent = first.agent, rest.full = first.full, rest.realized = first.realized;
    halve(first.servers, rest.servers);
    halve(first.disks, rest.disks);
    halve(first.ports, rest.ports);
    halve(first.fences, rest.fences);
    if (objects(rest) > 0) {
      send_parts_locked(std::move(first));
      return send_parts_locked(std::move(rest));
    }
    bytes = encode(report);  // one of each list: as it was
  }
  ++next_;
  if (kept_.size() >= kept_max) kept_.pop_front();  // the log was not to be had for long: the gap brings a full report
  kept_.push_back({report.number, std::move(bytes)});
  if (producer_ && !session_->failed) append_locked(Topic::reports, kept_.back().bytes, report.number);
  else wake_();
}

bool Outbox::add(Observed observed) {
  std::lock_guard lock(mutex_);
  if (!incarnation_) return false;
  note_offsets_locked();
  cut(observed);
  send_parts_locked(std::move(observed));
  return true;
}

void Outbox::taken(std::uint64_t number, std::int64_t position) {
  std::lock_guard lock(mutex_);
  note_offsets_locked();
  while (!kept_.empty() && kept_.front().number <= number) kept_.pop_front();
  const bool lost = !kept_.empty() && kept_.front().offset >= 0 && kept_.front().offset < position;
  if (lost && !std::exchange(lost_, true)) wake_();
}

void Outbox::send_once(Topic topic, Bytes bytes) {
  std::lock_guard lock(mutex_);
  append_locked(topic, std::move(bytes));
}

std::int64_t Outbox::step(std::int64_t steady_ms) {
  std::lock_guard lock(mutex_);
  note_offsets_locked();
  const bool broken = !producer_ || session_->failed;
  if ((broken || lost_) && steady_ms >= retry_ms_) {
    retry_ms_ = steady_ms + reopen_ms;
    if (lost_)
      for (auto& kept : kept_) kept.offset = -1;
    lost_ = false;
    producer_.reset();
    open_locked();
  }
  return broken || lost_ ? retry_ms_ : steady_ms + look_ms;
}

std::size_t Outbox::waiting() const {
  std::lock_guard lock(mutex_);
  std::size_t waiting = 0;
  std::unique_lock<std::mutex> offsets;
  if (session_) offsets = std::unique_lock(session_->mutex);
  for (const auto& kept : kept_) waiting += kept.offset < 0 && !(session_ && session_->offsets.contains({incarnation_, kept.number}));
  return waiting;
}

}  // namespace reprise
