#include "controlplane/cli/checkpoints.h"

#include <fmt/format.h>

#include "controlplane/cli/checkpoint_json.h"

namespace reprise::cli {

Checkpoints::Checkpoints(Projection& projection, Options options, std::function<void(const std::string&)> say)
    : projection_(projection), options_(std::move(options)), say_(std::move(say)) {
  const auto there = list_checkpoints(options_.folder);
  last_ = there.empty() ? 0 : there.front().seq;
  if (options_.every_records == 0) return;
  watch_ = projection_.watch([this](const Folded& folded) {
    const std::lock_guard lock(mutex_);
    if (due_ || folded.head.seq < last_ + options_.every_records) return;
    due_ = true;
    changed_.notify_one();
  });
  thread_ = std::thread([this] { run(); });
}

Checkpoints::~Checkpoints() {
  if (!thread_.joinable()) return;
  projection_.unwatch(watch_);
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_one();
  }
  thread_.join();
}

Result<Checkpoint> Checkpoints::make() {
  const std::lock_guard one(making_);
  auto made = make_checkpoint(*projection_.snapshot()->families, options_.folder);
  if (!made) return made;
  {
    const std::lock_guard lock(mutex_);
    last_ = std::max(last_, made->seq);
  }
  if (auto pruned = prune_checkpoints(options_.folder, options_.keep); !pruned) return pruned.error();
  return made;
}

void Checkpoints::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return due_ || ending_; });
    if (ending_) return;
    lock.unlock();
    const auto made = make();
    say_(made ? fmt::format("checkpoint of seq {} in {}", made->seq, made->dir)
              : "no checkpoint: " + made.error().text);
    lock.lock();
    due_ = false;
    // Not again at the very next record when it failed.
    if (!made) last_ = std::max(last_, projection_.head().seq);
  }
}

void register_checkpoint_route(api::Api& api, Checkpoints& checkpoints) {
  api.write(api::Service::none, api::Method::post, "/checkpoint", api::Need::admin,
            [&api, &checkpoints](api::Ask&) {
              return api::on_worker(api, [&checkpoints](api::Ask& ask) -> api::Plan {
                const auto made = checkpoints.make();
                if (made) return api::json_response(200, checkpoint_json(*made));
                return ask.error(503, made.error().text);
              });
            });
}

}  // namespace reprise::cli
