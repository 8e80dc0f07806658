#include "controlplane/api/password.h"

#include <sodium.h>

#include "events/check.h"

namespace reprise::api {
namespace {

constexpr std::chrono::minutes right_is_known{10}, wrong_is_known{1};
constexpr std::size_t remembered_max = 4096;

std::string new_key() {
  CHECK(sodium_init() >= 0);
  std::string key(crypto_generichash_KEYBYTES, '\0');
  randombytes_buf(key.data(), key.size());
  return key;
}

std::string place_of(const PasswordPool::Asker& asker) { return asker.address + '\0' + asker.name; }

}  // namespace

PasswordPool::PasswordPool(int threads, std::size_t queue_max, PasswordCost cost)
    : cost_(cost),
      nobody_(hash_now("nobody")),
      key_(new_key()),
      queue_max_(queue_max),
      pool_(threads, 2 * queue_max) {}

std::string PasswordPool::hash_now(const std::string& password) const {
  CHECK(sodium_init() >= 0);
  std::array<char, crypto_pwhash_STRBYTES> text{};
  // Fails only without memory for it: then nothing else works either.
  CHECK(crypto_pwhash_str_alg(text.data(), password.data(), password.size(), cost_.passes, cost_.memory_bytes,
                              crypto_pwhash_ALG_ARGON2ID13) == 0);
  return text.data();
}

bool PasswordPool::hash(std::string password, std::function<void(std::string)> then) {
  return post(false, [this, password = std::move(password), then = std::move(then)]() mutable {
    auto text = hash_now(password);
    sodium_memzero(password.data(), password.size());
    then(std::move(text));
  });
}

bool PasswordPool::verify(const Asker& asker, std::string password, std::string hash, Verified then) {
  const auto print = print_of(asker, password, hash);
  bool doubtful = false;
  std::optional<bool> known;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    if (const auto at = known_.find(print); at != known_.end() && at->second.until > now) known = at->second.right;
    const auto wrong = wrong_lately_.find(place_of(asker));
    doubtful = wrong != wrong_lately_.end() && wrong->second.until > now;
  }
  if (known) {
    then(*known);
    return true;
  }
  return post(doubtful, [this, asker, print, password = std::move(password), hash = std::move(hash),
                         then = std::move(then)]() mutable {
    const auto& against = hash.empty() ? nobody_ : hash;
    const bool same = crypto_pwhash_str_verify(against.c_str(), password.data(), password.size()) == 0;
    sodium_memzero(password.data(), password.size());
    const bool right = same && !hash.empty();
    note(asker, print, right);
    then(right);
  });
}

bool PasswordPool::post(bool doubtful, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    auto& queue = doubtful ? doubtful_ : waiting_;
    if (queue.size() >= queue_max_) return false;
    queue.push_back(std::move(work));
  }
  // There is room for one turn for each that waits; none is given once it stops, when what waits is dropped.
  return pool_.post([this] { run_one(); });
}

void PasswordPool::run_one() {
  std::function<void()> work;
  {
    const std::lock_guard lock(mutex_);
    const bool doubtful = waiting_.empty() || (!doubtful_.empty() && ++turn_ % 4 == 0);
    auto& queue = doubtful ? doubtful_ : waiting_;
    if (queue.empty()) return;
    work = std::move(queue.front());
    queue.pop_front();
  }
  work();
}

// With the name: what is known of nobody's password tells nothing about another name.
PasswordPool::Print PasswordPool::print_of(const Asker& asker, const std::string& password, const std::string& hash) const {
  Print print;
  crypto_generichash_state state;
  crypto_generichash_init(&state, reinterpret_cast<const unsigned char*>(key_.data()), key_.size(), print.size());
  for (const auto& part : {hash, hash.empty() ? asker.name : std::string(), password}) {
    const auto size = static_cast<std::uint64_t>(part.size());
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(&size), sizeof size);
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(part.data()), part.size());
  }
  crypto_generichash_final(&state, print.data(), print.size());
  return print;
}

template <class Map>
void PasswordPool::forget_old(Map& map, Clock::time_point now) {
  if (map.size() < remembered_max) return;
  std::erase_if(map, [now](const auto& one) { return one.second.until <= now; });
  if (map.size() >= remembered_max) map.clear();
}

void PasswordPool::note(const Asker& asker, const Print& print, bool right) {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  forget_old(known_, now);
  known_[print] = {right, now + (right ? right_is_known : wrong_is_known)};
  forget_old(wrong_lately_, now);
  if (right) wrong_lately_.erase(place_of(asker));
  else wrong_lately_[place_of(asker)] = {false, now + wrong_is_known};
}

}  // namespace reprise::api
