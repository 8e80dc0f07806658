#include "agents/core/outbox.h"

namespace reprise {
namespace {
constexpr std::int64_t reopen_ms = 500;       // between sessions
constexpr std::int64_t resend_ms = 30'000;    // without progress everything is sent again: duplicates are harmless
}  // namespace

Outbox::Outbox(Log& log, NodeId node, std::function<void()> wake) : log_(log), node_(node), wake_(std::move(wake)) {}

void Outbox::begin(Seq incarnation) {
  std::lock_guard lock(mutex_);
  incarnation_ = incarnation;
  next_ = 1;
  kept_.clear();
}

void Outbox::open_locked() {
  if (producer_ && !session_->failed) return;
  producer_.reset();
  auto opened = log_.open_producer();
  if (!opened) return;
  session_ = std::make_shared<Session>();
  producer_ = std::move(*opened);
  for (const auto& kept : kept_) append_locked(Topic::reports, kept.bytes);
}

void Outbox::append_locked(Topic topic, Bytes bytes) {
  if (!producer_) return;
  producer_->append(topic, std::move(bytes), [session = session_, wake = wake_](Result<std::int64_t> offset) {
    if (offset || offset.error().code == Errc::invalid) return;
    session->failed = true;
    wake();
  });
}

bool Outbox::add(Observed observed) {
  std::lock_guard lock(mutex_);
  if (!incarnation_) return false;
  Report report{.node = node_, .incarnation = incarnation_, .number = next_++};
  report.body.Set(std::move(observed));
  kept_.push_back({report.number, encode(report)});
  if (producer_ && !session_->failed) append_locked(Topic::reports, kept_.back().bytes);
  else wake_();
  return true;
}

void Outbox::taken(std::uint64_t number) {
  std::lock_guard lock(mutex_);
  while (!kept_.empty() && kept_.front().number <= number) {
    kept_.pop_front();
    progressed_ = true;
  }
}

void Outbox::send_once(Topic topic, Bytes bytes) {
  std::lock_guard lock(mutex_);
  append_locked(topic, std::move(bytes));
}

std::int64_t Outbox::step(std::int64_t steady_ms) {
  std::lock_guard lock(mutex_);
  if (progressed_ || kept_.empty()) progress_ms_ = steady_ms;
  progressed_ = false;
  const bool broken = !producer_ || session_->failed;
  const bool stuck = !kept_.empty() && steady_ms - progress_ms_ > resend_ms;
  if ((broken || stuck) && steady_ms >= retry_ms_) {
    retry_ms_ = steady_ms + reopen_ms;
    progress_ms_ = steady_ms;
    producer_.reset();
    open_locked();
  }
  return broken ? retry_ms_ : steady_ms + resend_ms;
}

std::size_t Outbox::waiting() const {
  std::lock_guard lock(mutex_);
  return kept_.size();
}

}  // namespace reprise
