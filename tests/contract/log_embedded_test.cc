// The embedded log: the contract, and what it promises beyond it.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "events/embedded_log.h"
#include "tests/contract/faulty_disk.h"
#include "tests/contract/log_contract.h"
#include "tests/contract/temporary_folder.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::contract;
namespace fs = std::filesystem;

namespace {

// Several clients in one process share the one open folder.
class SharedLog final : public Log {
 public:
  explicit SharedLog(std::shared_ptr<Log> log) : log_(std::move(log)) {}
  Result<std::unique_ptr<Producer>> open_producer() override { return log_->open_producer(); }
  Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset,
                                              std::function<void()> wake) override {
    return log_->open_reader(topic, offset, std::move(wake));
  }
  void end(Topic topic, Answer answer) override { log_->end(topic, std::move(answer)); }
  Result<std::int64_t> begin(Topic topic) override { return log_->begin(topic); }
  std::unique_ptr<Candidacy> stand(std::function<void()> wake) override {
    return log_->stand(std::move(wake));
  }
  std::string place() const override { return log_->place(); }

 private:
  std::shared_ptr<Log> log_;
};

std::unique_ptr<Log> must_open(const std::string& dir, EmbeddedLogOptions options = {}) {
  auto log = open_embedded_log(dir, std::move(options));
  INFO((log ? "" : log.error().text));
  REQUIRE(log.ok());
  return *std::move(log);
}

class EmbeddedRig final : public NudgedRig {
 public:
  EmbeddedRig(std::size_t tail_bytes_max, FaultyDisk::Fault fault) : fault_(fault) {
    options_.tail_bytes_max = tail_bytes_max;
    options_.sweep_ms = 0;
    options_.env = disk_.env();
    options_.now_ms = [this] { return now_ms_.load(); };
    log_ = must_open(dir(), options_);
  }
  std::unique_ptr<Log> connect() override { return std::make_unique<SharedLog>(log_); }
  void restart() override {
    REQUIRE(log_.use_count() == 1);
    log_.reset();
    log_ = must_open(dir(), options_);
  }
  void age(Topic topic) override { now_ms_ += topic_rules(topic).retention_ms + 1; }
  void break_appends() override { disk_.set(fault_); }
  void heal() override { disk_.set(FaultyDisk::Fault::none); }
  std::string dir() const { return folder_ / "log"; }

 private:
  TemporaryFolder folder_;
  FaultyDisk disk_;
  const FaultyDisk::Fault fault_;
  std::atomic<std::int64_t> now_ms_ = 1'700'000'000'000;
  EmbeddedLogOptions options_;
  std::shared_ptr<Log> log_;
};

// Everything from memory, and everything from disk; each way in which a disk can fail.
FreshRig hot = [] { return std::make_unique<EmbeddedRig>(64 << 20, FaultyDisk::Fault::full); };
FreshRig cold = [] { return std::make_unique<EmbeddedRig>(0, FaultyDisk::Fault::sync_fails); };
FreshRig lost = [] { return std::make_unique<EmbeddedRig>(1000, FaultyDisk::Fault::gone); };

}  // namespace

TEST_CASE("embedded: appends and reads") { check_appends_and_reads(hot); }
TEST_CASE("embedded: appends and reads, from disk") { check_appends_and_reads(cold); }
TEST_CASE("embedded: ends and limits") { check_ends_and_limits(hot); }
TEST_CASE("embedded: ends and limits, from disk") { check_ends_and_limits(cold); }
TEST_CASE("embedded: sessions, the disk full") { check_sessions(hot); }
TEST_CASE("embedded: sessions, a disk that does not sync") { check_sessions(cold); }
TEST_CASE("embedded: sessions, a disk that is gone") { check_sessions(lost); }
TEST_CASE("embedded: readers") { check_readers(hot); }
TEST_CASE("embedded: readers, some from disk") { check_readers(lost); }
TEST_CASE("embedded: keeping") { check_keeping(hot); }
TEST_CASE("embedded: keeping, from disk") { check_keeping(cold); }
TEST_CASE("embedded: candidacies") { check_candidacies(hot); }
