// A cloud for requests that nobody would send: a busy one of fixed ids behind the api's own frame and server.
// A change is decided and folded at once, where it is asked for; back() makes the cloud what it was before,
// so that each input meets the same one. No log, no controller's thread, no agents.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "controlplane/api/backend.h"
#include "tests/unit/scribe.h"
#include "tests/unit/temporary_folder.h"

namespace reprise::fuzz {

class SmallCloud final : public api::Backend {
 public:
  SmallCloud();

  View view() const override;
  Result<View> view_at(Seq seq) const override;
  ProjectionStatus status() const override;
  void fresh(PassedCallback callback) override { callback({}); }
  void submit(Intent intent, DecidedCallback callback) override;
  Result<std::vector<StoredRecord>> read_records(Seq from, std::size_t max) const override;
  Projection::WatchId watch(std::function<void(const Folded&)>) override { return 1; }
  void unwatch(Projection::WatchId) override {}
  void console(ServerId, NodeId, std::size_t, Console callback) override { callback(std::string("login: ")); }
  void stop() override {}

  // Empty: every counter agrees with the rows. Then the cloud is as it was in the beginning; only its seqs go
  // on.
  std::string back();
  // The ids behind a word, as a path has them: "server", "project" …; none: there is no such word.
  const std::vector<std::string>& ids(std::string_view word) const;
  std::string folder(const char* name) const { return folder_.path(name); }

  CloudId cloud;
  UserId admin, member;
  ProjectId project;

 private:
  void tell();
  void remember();
  void store(const testing::Written& written);

  testing::TemporaryFolder folder_;
  std::unique_ptr<Store> store_;
  mutable std::mutex mutex_;
  testing::Scribe scribe_{false};
  std::uint64_t intents_ = 1'000'000;  // behind the story's own
  State::Mark mark_;
  LogId log_;
  // As they were in the beginning, and what is not any more.
  std::map<std::pair<std::uint8_t, std::string>, std::string> rows_;
  std::set<std::string> entries_;
  Changes changed_;
  std::map<std::string, std::vector<std::string>, std::less<>> ids_;
};

}  // namespace reprise::fuzz
