#include "controlplane/api/exchange.h"

#include <fmt/format.h>

#include <algorithm>

#include "controlplane/api/hosts.h"
#include "controlplane/api/moment.h"
#include "controlplane/api/refusals.h"
#include "controlplane/decide/placement.h"

namespace reprise::api {
namespace {

constexpr std::size_t client_key_chars_max = 128;
constexpr const char* retry_after_s = "1";

std::uint64_t steady_ms() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

// What the same key must repeat: what was asked, not how it was sent.
std::string text_of(const Request& request) {
  std::string text = fmt::format("{} {}", request.method_text, request.path);
  for (const auto& [key, value] : request.query) text += fmt::format("\n{}={}", key, value);
  return text + "\n\n" + request.body;
}

bool good_key(std::string_view key) {
  return key.size() <= client_key_chars_max &&
         std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

const char* need_name(Need need) {
  switch (need) {
    case Need::nothing:
    case Need::token:
    case Need::reader:
      return "reader";
    case Need::member:
      return "member";
    case Need::admin:
      return "admin";
  }
  return "?";
}

bool has(const Rights& rights, Need need) {
  switch (need) {
    case Need::nothing:
    case Need::token:
      return true;
    case Need::reader:
      return rights.reader;
    case Need::member:
      return rights.member;
    case Need::admin:
      return rights.admin;
  }
  return false;
}

const IntentRefused* refused(const Decision& decision) {
  for (const auto& event : decision.events)
    if (event.is<IntentRefused>()) return &event.as<IntentRefused>();
  return nullptr;
}

// Never as the request's Host says: whoever can have a client send one would be in its catalog.
std::string base_of(const Request& request, const std::string& public_url) {
  auto base = public_url.empty() ? "http://" + request.served_at : public_url;
  // As the client wrote it: it must come back to the same moment.
  if (request.segments.size() < 2 || request.segments[0] != "at") return base;
  base += "/at/";
  for (const char c : request.segments[1]) base.push_back(c == ' ' ? 'T' : c);
  return base;
}

Response unauthenticated(const Api& api, const Request& request, Service service, const std::string& why) {
  auto answer = error_response(service, 401, why, request.header("Accept"));
  answer.header("WWW-Authenticate", fmt::format("Keystone uri=\"{}/identity\"", base_of(request, api.config().public_url)));
  return answer;
}

// Which node is why not is for admins.
std::string text_for(const Ask& ask, const IntentRefused& event) {
  if (!ask.actor().rights.admin) return without_hosts(ask.view(), event.text);
  auto text = event.text;
  for (const auto& verdict : event.nodes) {
    const auto node = ask.view().find<Node>(verdict.node);
    text += fmt::format(" {}: {}.", node ? node->name : verdict.node.str(),
                        placement_reason_text(static_cast<PlacementReason>(verdict.reason)));
  }
  return text;
}

}  // namespace

std::optional<Response> refuse_unauthenticated(const Api& api, const Request& head, Service service) {
  const auto why = refuse_token(api.keyring(), head.header("X-Auth-Token"), api.backend().now_ms());
  return why ? std::optional(unauthenticated(api, head, service, why->text)) : std::nullopt;
}

Exchange::Exchange(Api& api, std::shared_ptr<const Route> route, Call call, Responder responder)
    : api_(api),
      route_(std::move(route)),
      responder_(std::move(responder)),
      ask_(std::move(call), api.backend().view()) {
  ask_.now_ms_ = api.backend().now_ms();
  ask_.base_ = base_of(ask_.request(), api.config().public_url);
  if (!route_->write) return;
  intent_ = random_id().as<IntentId>();
  ask_.seed_ = intent_;
}

void Exchange::begin() {
  // What needs no token, in the past too, says nothing of the state.
  if (route_->need == Need::nothing && !route_->write && !(ask_.call_.at && route_->present)) return run();
  if (route_->need != Need::nothing)  // before the log is asked: who has no token costs next to nothing
    if (auto refused = refuse_unauthenticated(api_, ask_.request(), ask_.call_.service)) return finish(std::move(*refused));
  api_.backend().fresh([self = shared_from_this(), asked = std::this_thread::get_id()](const Status& status) {
    self->go_on(asked, [self, status] { self->admit(status); });
  });
}

void Exchange::go_on(std::thread::id asked, std::function<void()> step) {
  if (std::this_thread::get_id() == asked) return step();
  on_worker(std::move(step));
}

void Exchange::on_worker(std::function<void()> step) {
  if (api_.workers().post(std::move(step))) return;
  auto busy = ask_.error(503, "Too many requests wait to be answered: try again in a second.");
  busy.header("Retry-After", retry_after_s);
  finish(std::move(busy));
}

void Exchange::admit(const Status& fresh) {
  if (!fresh) {
    const auto code = fresh.error().code;
    if (code == Errc::conflict) sealed_ = fresh.error().text;
    stale_ = code == Errc::unreachable || code == Errc::timed_out || code == Errc::no_space || !sealed_.empty();
    if (!stale_) {
      auto answer = ask_.error(503, "This server cannot answer: " + fresh.error().text);
      if (code == Errc::again) answer.header("Retry-After", retry_after_s);
      return finish(std::move(answer));
    }
  }
  ask_.view_ = api_.backend().view();
  if (auto answer = authorize()) return finish(std::move(*answer));
  if (auto answer = go_back()) return finish(std::move(*answer));
  if (!route_->write) return run();
  if (auto answer = limit_rate()) return finish(std::move(*answer));
  if (auto answer = read_key()) return finish(std::move(*answer));
  if (const auto row = known_key(ask_.view_); row && !replay(*row)) return;
  run();
}

std::optional<Response> Exchange::read_key() {
  const auto key = ask_.request().header("X-Reprise-Intent");
  if (key.empty() || route_->need == Need::nothing) return std::nullopt;
  if (!ask_.actor_.project)
    return ask_.error(
        400, "X-Reprise-Intent is kept for a project: use a token that is scoped to one, or leave it out.");
  if (!good_key(key))
    return ask_.error(400, fmt::format("X-Reprise-Intent must have 1 to {} visible ASCII characters.",
                                       client_key_chars_max));
  // The body may hold a password or user data: what goes into the log for ever must not tell anything about
  // it.
  if (const auto made = api_.keyring().add_project(ask_.actor_.project); !made)
    return ask_.error(503, made.error().text);
  const auto print =
      api_.keyring().fingerprint(ask_.actor_.project, "X-Reprise-Intent", text_of(ask_.request()));
  if (!print) return ask_.error(503, print.error().text);
  client_key_ = key;
  body_hash_ = *print;
  return std::nullopt;
}

std::optional<Response> Exchange::authorize() {
  if (route_->need == Need::nothing) return std::nullopt;
  auto actor = actor_of(api_.keyring(), api_.standings(), ask_.view_, ask_.request().header("X-Auth-Token"), ask_.now_ms_);
  if (!actor) return unauthenticated(api_, ask_.request(), ask_.call_.service, actor.error().text);
  ask_.actor_ = std::move(*actor);
  if (has(ask_.actor_.rights, route_->need)) return std::nullopt;
  if (!ask_.actor_.project)
    return ask_.error(403, "This needs a token that is scoped to a project; the one given is not.");
  return ask_.error(403, fmt::format("This needs the role {} in project {}: ask an admin for it.",
                                     need_name(route_->need), ask_.actor_.project_name));
}

std::optional<Response> Exchange::limit_rate() {
  if (!ask_.actor_.project) return std::nullopt;
  const auto seconds = api_.rate().take(ask_.actor_.project, steady_ms());
  if (!seconds) return std::nullopt;
  auto answer = ask_.error(429, fmt::format("Too many changes at once in project {}: try again in {} s.",
                                            ask_.actor_.project_name, *seconds));
  answer.header("Retry-After", std::to_string(*seconds));
  return answer;
}

std::optional<Response> Exchange::go_back() {
  if (!ask_.call_.at) return std::nullopt;
  if (route_->present)
    return ask_.error(
        501, "What this path shows was never in the log, so the past of it is not known: leave /at/… out.");
  const auto seq = seq_of(ask_.view_, *ask_.call_.at, ask_.now_ms_);
  if (!seq) return ask_.error(moment_status(seq.error().code), seq.error().text);
  if (route_->write) return std::nullopt;  // a token: for the past, but of the present
  auto view = api_.backend().view_at(*seq);
  if (!view) return ask_.error(moment_status(view.error().code), view.error().text);
  ask_.present_ = std::exchange(ask_.view_, std::move(*view));
  return std::nullopt;
}

void Exchange::run() { proceed(route_->handle(ask_)); }

void Exchange::proceed(Plan plan) {
  if (auto* response = std::get_if<Response>(&plan.held)) {
    if (replaying_ && response->status >= 400 && plan_again()) return;
    return finish(std::move(*response));
  }
  if (auto* later = std::get_if<Later>(&plan.held)) {
    return later->begin(ask_, [self = shared_from_this()](Plan next) {
      if (!self->replaying_ && !self->ask_.call_.at) self->ask_.view_ = self->api_.backend().view();
      self->proceed(std::move(next));
    });
  }
  CHECK(route_->write);  // a read changes nothing
  submit(std::move(std::get<Change>(plan.held)));
}

// ---- a change

Intent Exchange::intent_of(Change& change) {
  Intent intent;
  intent.id = intent_;
  intent.request_id = ask_.call_.request_id;
  intent.global_request_id = ask_.call_.global_request_id;
  intent.user = ask_.actor_.user;
  intent.project = change.project ? change.project : ask_.actor_.project;
  intent.key = key();
  intent.body_hash = body_hash_;
  intent.sent_ms = api_.backend().now_ms();
  intent.expires_ms = intent.sent_ms + api_.config().window_ms;
  intent.client = ask_.request().client;
  intent.object = change.object;
  intent.body = std::move(change.body);
  return intent;
}

void Exchange::submit(Change change) {
  type_ = change.body.type;
  if (replaying_) return replay_change(std::move(change));
  if (step_ > 0) {
    intent_ = random_id().as<IntentId>();
    if (const auto row = known_key(ask_.view_)) {
      replaying_ = row;
      return replay_change(std::move(change));
    }
  }
  if (!sealed_.empty())
    return finish(ask_.error(503, fmt::format("The request {} was not done: {}. Ask it there.", ask_.call_.request_id, sealed_)));
  auto intent = intent_of(change);
  change_.emplace(std::move(change));
  submitted_ = std::chrono::steady_clock::now();
  api_.backend().submit(std::move(intent), [self = shared_from_this()](Result<DecidedAnswer> answer) {
    auto step = [self, answer = std::make_shared<Result<DecidedAnswer>>(std::move(answer))] {
      self->decided(std::move(*answer));
    };
    // What was done must be said: with the workers' queue full, here.
    if (!self->api_.workers().post(step)) step();
  });
}

void Exchange::decided(Result<DecidedAnswer> answer) {
  if (!answer) return undone(answer.error());
  ask_.decided_ = std::move(*answer);
  ask_.view_ = api_.backend().view();
  stale_ = false;
  api_.metrics().decided(std::chrono::steady_clock::now() - submitted_,
                         refused(ask_.decided_.decision) != nullptr);
  conclude();
}

// What the decision of this step means; the view shows it.
void Exchange::conclude() {
  if (const auto* event = refused(ask_.decided_.decision)) {
    if (static_cast<Refusal>(event->refusal) == Refusal::key_repeated) {
      // Sent twice at once: the other one was decided first.
      const auto row = known_key(ask_.view_);
      if (!row) return finish(ask_.error(409, event->text));
      if (step_ > 0) return finish(ask_.error(409, event->text));
      if (replay(*row)) run();
      return;
    }
    if (change_->refused)
      if (auto own = change_->refused(ask_, *event)) return finish(std::move(*own));
    return finish(refusal(*event));
  }
  const auto then = std::move(change_->then);
  change_.reset();
  ++step_;
  proceed(then(ask_));
}

Response Exchange::refusal(const IntentRefused& event) {
  const auto why = static_cast<Refusal>(event.refusal);
  const bool own = !change_->object || event.object == change_->object;
  const int status = refusal_status(ask_.call_.service, why, own);
  auto answer = ask_.error(status, text_for(ask_, event), neutron_type(why, type_));
  if (status == 429 || status == 503) answer.header("Retry-After", retry_after_s);
  return answer;
}

// 503: proven not to have been done. 504: nobody knows yet (design, section 2, rule 5).
void Exchange::undone(const Error& error) {
  const bool not_done = error.code == Errc::not_found || error.code == Errc::unreachable;
  if (not_done && !client_key_.empty()) {
    // Not this one; but an earlier one under the same key may have been.
    ask_.view_ = api_.backend().view();
    if (const auto row = known_key(ask_.view_); row && step_ == 0) {
      if (replay(*row)) run();
      return;
    }
  }
  if (error.code == Errc::invalid) return finish(ask_.error(413, error.text));
  api_.metrics().undecided();
  if (not_done) {
    auto answer = ask_.error(
        503, fmt::format("The request {} was not done: {}. Try again.", ask_.call_.request_id, error.text));
    answer.header("Retry-After", retry_after_s);
    return finish(std::move(answer));
  }
  finish(ask_.error(504,
                    fmt::format("It is not known whether request {} was or will be done: {}. Look before you "
                                "send it again, or send it with the same X-Reprise-Intent.",
                                ask_.call_.request_id, error.text)));
}

// ---- the same request again

std::string Exchange::key() const {
  return client_key_.empty() || step_ == 0 ? client_key_ : fmt::format("{}/{}", client_key_, step_);
}

std::optional<ClientKey> Exchange::known_key(const View& view) const {
  if (client_key_.empty()) return std::nullopt;
  return view.find<ClientKey>(ClientKey::key_of(ask_.actor_.user, ask_.actor_.project, key()));
}

// What it needs may have come into being in the very record that holds its decision.
bool Exchange::plan_again() {
  if (ask_.view_.seq() >= replaying_->seq) return false;
  auto view = api_.backend().view_at(replaying_->seq);
  if (!view) return false;
  ask_.view_ = std::move(*view);
  forget_plan();
  run();
  return true;
}

void Exchange::forget_plan() {
  change_.reset();
  ask_.ids_ = 0;
  ask_.document_.reset();
  ask_.unreadable_ = false;
  ask_.mistakes_ = {};
}

// Plans it as it was planned: with the ids of then, in the state of then. False: it was answered.
bool Exchange::replay(const ClientKey& row) {
  if (row.body_hash != body_hash_) {
    finish(ask_.error(
        409, fmt::format("X-Reprise-Intent {} was used for another request; give each request its own.",
                         client_key_)));
    return false;
  }
  auto before = api_.backend().view_at(row.seq > 1 ? row.seq - 1 : row.seq);
  if (!before) {
    finish(ask_.error(503, before.error().text));
    return false;
  }
  replaying_ = row;
  forget_plan();
  ask_.view_ = std::move(*before);
  ask_.seed_ = row.intent;
  ask_.replayed_ = true;
  return true;
}

void Exchange::replay_change(Change change) {
  change_.emplace(std::move(change));
  on_worker([self = shared_from_this()] { self->read_decision(); });
}

// The decision that was made then, and the state right after it.
void Exchange::read_decision() {
  const ClientKey row = *replaying_;
  const auto lost = [&](const std::string& why) {
    finish(ask_.error(503, "The first answer to this request cannot be read: " + why));
  };
  const auto records = api_.backend().read_records(row.seq, 1);
  if (!records || records->empty()) return lost(records ? "its record is gone" : records.error().text);
  auto record = decode_record(records->front().bytes);
  if (!record) return lost(record.error().text);
  if (row.decision >= record->decisions.size()) return lost("its record does not hold it");
  auto after = api_.backend().view_at(row.seq);
  if (!after) return lost(after.error().text);
  ask_.view_ = std::move(*after);
  ask_.decided_ = {row.seq, row.decision, record->at_ms, std::move(record->decisions[row.decision])};
  ask_.replayed_ = true;
  replaying_.reset();  // a further step has a key of its own
  conclude();
}

void Exchange::finish(Response response) {
  if (const auto& status = ask_.view_.status(); !status && response.status < 500)
    response = ask_.error(503, "The state cannot be read here: " + status.error().text);
  // A state that may have passed refuses no change: it may be there, or allowed, by now.
  if (stale_ && sealed_.empty() && route_->write && !ask_.replayed_ && response.status >= 400 && response.status < 500 &&
      response.status != 429) {
    response = ask_.error(503, "This server cannot read the newest state now, and so cannot say whether this can be done: ask it again, or another.");
    response.header("Retry-After", retry_after_s);
  }
  if (stale_) response.header("X-Reprise-Stale", "true");
  if (ask_.replayed_) response.header("X-Reprise-Replayed", "true");
  if (ask_.call_.at && !ask_.view_.is_now()) response.header("X-Reprise-Seq", std::to_string(ask_.view_.seq()));
  api_.metrics().answered(ask_.call_.service, response.status, std::chrono::steady_clock::now() - began_);
  responder_(std::move(response));
}

}  // namespace reprise::api
