// The clients of a simulated cloud, and the api in front of them: they ask for things, remember every
// answer, and ask again under the same key when they got none.
#pragma once

#include "tests/sim/processes.h"

namespace reprise::sim {

class Clients {
 public:
  using Folded = std::function<void(const Step&, const State&)>;
  Clients(Ground& ground, UserId user, ProjectId project, Folded told);

  // One more wish, drawn from what there is now.
  void ask();
  // So many instances and volumes at most; to be asked before anything is made.
  void ask_quota(std::int64_t most);
  // Intents that were sent and neither answered nor given up.
  std::size_t waiting() const { return waiting_.size(); }
  std::uint64_t sent() const { return sent_; }
  const Follower& follower() const { return *follower_; }
  // What was answered is in the log, once.
  void check() const;
  void wake() { task_->wake(); }

 private:
  struct Asked {
    Bytes body;                    // the intent with its key, to be sent again under another id
    std::string key;
    std::int64_t expires_ms = 0;
    std::int64_t sent_ms = 0;
    int tries = 0;
  };
  template <class T>
  void send(T body, AnyId object);
  void dispatch(Intent intent, int tries);
  void folded(const Step& step);
  std::int64_t step();

  void ask_server();
  void ask_volume();
  void ask_network();
  void ask_other();
  template <class Row>
  const Row* any(const Table<Row>& table);
  AnyId fresh() { return {prng_.next(), prng_.next()}; }

  Ground& ground_;
  Prng prng_;
  const UserId user_;
  const ProjectId project_;
  const Folded told_;
  std::unique_ptr<Log> client_;
  std::unique_ptr<Follower> follower_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Producer> producer_;
  std::shared_ptr<bool> producer_failed_ = std::make_shared<bool>(false);
  std::map<IntentId, Asked> waiting_;
  std::map<IntentId, std::pair<Seq, std::uint32_t>> answers_;  // where each was decided
  std::map<std::string, IntentId> effects_;                    // per key: the intent that took effect
  std::uint64_t sent_ = 0;
};

}  // namespace reprise::sim
