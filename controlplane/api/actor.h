// Who asks: a token, opened and held against the state.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "controlplane/api/token.h"
#include "controlplane/decide/context.h"
#include "projections/view.h"

namespace reprise::api {

struct Actor {
  TokenClaims claims;
  UserId user;
  ProjectId project;  // none: the token is unscoped
  std::string user_name;
  std::string project_name;
  Rights rights;
};

// As decide's rights_of(), read from the store.
Rights rights_of(const View& view, UserId user, ProjectId project);

// What a user's tokens rest on: another value after each new password and each time that the user is disabled. Times alone
// would not do: a login and a new password may fall into one millisecond.
std::uint64_t credentials_of(const User& user);

// What a user is in a project.
struct Standing {
  bool user_enabled = false;  // and there
  bool project_enabled = false;
  std::uint64_t credentials = 0;
  std::string user_name;
  std::string project_name;
  Rights rights;
};

// Remembered until a record changes anything that it is made of: every request asks. From any thread.
class Standings {
 public:
  Standing of(const View& now, UserId user, ProjectId project);  // no project: of the user alone

 private:
  struct Known {
    Seq since = 0;
    Standing standing;
  };
  std::mutex mutex_;
  std::map<std::pair<UserId, ProjectId>, Known> known_;
};

// Why no look at the state could make this token good; nothing: the state has to say (actor_of).
std::optional<Error> refuse_token(const Keyring& keyring, std::string_view token, std::int64_t now_ms);
// `now`: of the present, whatever moment is asked about. The error is what a 401 has to say: expired, forged,
// revoked, of a user or project that is gone or disabled, older than the user's password.
Result<Actor> actor_of(const Keyring& keyring, Standings& standings, const View& now, std::string_view token,
                       std::int64_t wall_ms);

}  // namespace reprise::api
