// The clients of a simulated cloud, and the api in front of them: they ask for things, remember every
// answer, and ask again under the same key when they got none.
#pragma once

#include "tests/sim/processes.h"
#include "tests/sim/workload.h"

namespace reprise::sim {

class Clients {
 public:
  using Folded = std::function<void(const Step&, const State&)>;
  Clients(Ground& ground, Actor admin, RoleId member, Folded told);

  // What is asked before all else.
  void open();
  // The wish of that number, drawn from what there is now.
  void ask(std::uint64_t number);
  // This one; answers with its key.
  std::string ask(Intent intent);
  // Was that asked for, and not refused?
  bool took_effect(const std::string& key) const { return effects_.contains(key); }
  // The admin asks for this.
  template <class T>
  std::string ask_as_admin(T body, AnyId object) {
    Intent intent;
    intent.user = admin().user;
    intent.project = admin().project;
    intent.object = object;
    intent.set(std::move(body));
    return ask(std::move(intent));
  }
  // Asks once, and does not ask again.
  void declare_dead(NodeId node);
  // Is anything open that was asked about it?
  bool waits_about(AnyId object) const;

  // The api is killed and started again: who waited for an answer asks again under the same key.
  void restart_api();
  void pause(bool paused);
  // Whoever asks from now on waits for the answer.
  void be_patient() { impatient_ = 0; }

  // Intents that were sent and neither answered nor given up, and those that will be sent once more.
  std::size_t waiting() const { return waiting_.size() + to_ask_again_; }
  std::uint64_t sent() const { return sent_; }
  const Follower& follower() const { return *follower_; }
  const std::string& client_name() const { return client_name_; }
  const Actor& admin() const { return workload_.admin(); }

 private:
  struct Asked {
    Bytes body;                    // the intent with its key, to be sent again under another id
    AnyId object;
    std::int64_t expires_ms = 0;
    std::int64_t sent_ms = 0;      // steady
    int tries = 0;
  };
  void dispatch(Intent intent, int tries);
  void append(Bytes intent);
  void folded(const Step& step);
  void decided(const Intent& intent, const Decision& decision, std::int64_t at_ms);
  std::int64_t step();

  Ground& ground_;
  Prng prng_;
  Workload workload_;
  const Folded told_;
  int lives_ = 0;
  std::string client_name_;
  std::unique_ptr<Log> client_;
  std::unique_ptr<Follower> follower_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Producer> producer_;
  std::shared_ptr<bool> producer_failed_ = std::make_shared<bool>(false);
  std::map<IntentId, Asked> waiting_;
  std::set<IntentId> decided_;
  std::set<IntentId> said_not_done_;            // log time had passed their expiry
  std::map<std::string, std::int64_t> effects_; // per key: when its intent took effect, in log time
  unsigned impatient_ = 100;                    // of 1000
  std::uint64_t sent_ = 0;
  std::size_t to_ask_again_ = 0;
  std::int64_t ask_time_ms_ = 0;                // not before
};

}  // namespace reprise::sim
