// One request as a resource sees it, and what it answers with.
//
//   Plan create_network(Ask& ask) {
//     Fields body = ask.body();
//     Fields network = body.object("network");
//     CreateNetwork intent{.id = ask.new_id<NetworkId>(), .name = network.string("name", 0, 255)};
//     network.done(), body.done();
//     if (auto bad = ask.bad()) return std::move(*bad);                 // every mistake, in one 400
//     return Change(intent, intent.id, [id = intent.id](Ask& ask) { return show_network(ask, id, 201); });
//   }
//
// A read returns a Response. A write returns a Response (a refusal, as a rule), or a Change: the intent and
// what to answer when it was done, on a view that shows it. Either may return Later: work that takes longer
// than a thread of the api should wait, and that hands over the plan when it has it.
//
// Promises to the resource: the actor is who the token says and has the rights that the route needs; the view
// is of one seq and fresh; ids come from the request's intent, so that the same request sent again under
// the same X-Reprise-Intent plans the same; one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "controlplane/api/actor.h"
#include "controlplane/api/json.h"
#include "controlplane/api/json_writer.h"
#include "controlplane/api/router.h"
#include "projections/waiters.h"

namespace reprise::api {

class Ask;
class Plan;

using Handle = std::function<Plan(Ask&)>;

struct Change {
  // `object`: what the intent is about, for its trail.
  template <IntentBody T, class Tag>
  Change(T intent, const Id<Tag>& object, Handle then)
      : object(object.template as<AnyId>()), then(std::move(then)) {
    body.Set(std::move(intent));
  }
  template <IntentBody T>
  Change(T intent, Handle then) : then(std::move(then)) {
    body.Set(std::move(intent));
  }

  wire::IntentBodyUnion body;
  AnyId object;
  Handle then;  // the decision was folded; ask.view() shows it. May return another Change.
  // When it was refused: another answer than the usual one (refusals.h), or nothing.
  std::function<std::optional<Response>(Ask&, const IntentRefused&)> refused;
  ProjectId project;  // that is asked in; none: the token's
};

// `resume` is called once, from any thread but the projection's; the Ask lives until then. The view is
// renewed.
struct Later {
  using Resume = std::function<void(Plan)>;
  std::function<void(Ask&, Resume resume)> begin;
};

class Plan {
 public:
  Plan(Response response) : held(std::move(response)) {}  // NOLINT: implicit by intent
  Plan(Change change) : held(std::move(change)) {}        // NOLINT
  Plan(Later later) : held(std::move(later)) {}           // NOLINT
  std::variant<Response, Change, Later> held;
};

// Where a list begins and how long it is at most.
struct Page {
  std::size_t limit = 0;
  std::string marker;    // id of the row before the first; empty: from the start
  bool limited = false;  // the client gave a limit
};

class Ask {
 public:
  Ask(Call call, View view) : call_(std::move(call)), view_(std::move(view)) {}

  Call& call() { return call_; }
  const Request& request() const { return call_.request; }
  const Actor& actor() const { return actor_; }
  const View& view() const { return view_; }
  // Under /at/: the state as it is now, beside the view, which is of then.
  const View& present() const { return present_ ? *present_ : view_; }
  bool past() const { return present_.has_value(); }
  // May the actor see what belongs to that project? If not, it is as good as absent: 404.
  bool sees(ProjectId owner) const { return actor_.rights.admin || (owner && owner == actor_.project); }
  // In the past things are not made again: this request was answered before and its answer is given again.
  bool replayed() const { return replayed_; }
  // After a Change: when it was decided, and with which events.
  const DecidedAnswer& decided() const { return decided_; }
  std::int64_t now_ms() const { return now_ms_; }  // at the request's begin: Backend::now_ms()

  // The nth {…} of the path. id<ServerId>(0): nothing when it is no UUID, and then 404 is right.
  const std::string& param(std::size_t index) const { return call_.params.at(index); }
  template <class I>
  std::optional<I> id(std::size_t index) const {
    return I::parse(param(index));
  }

  std::optional<std::string_view> query(std::string_view key) const { return call_.request.query_value(key); }
  std::vector<std::string_view> queries(std::string_view key) const;
  // ?key=, ?key=1, ?key=True; a mistake if it is something else.
  std::optional<bool> flag(std::string_view key);
  // limit and marker; no limit, 0 or a larger one: `most`.
  Page page(std::size_t most);

  // The JSON body. What is malformed or no object is one mistake, and every field is absent.
  Fields body();
  // Nothing was sent, or white space only.
  bool no_body() const;
  Mistakes& mistakes() { return mistakes_; }
  // 400 with all mistakes so far, if there are any.
  std::optional<Response> bad();
  Response error(int status, std::string_view message, std::string_view neutron_type = {}) const {
    return call_.error(status, message, neutron_type);
  }

  // A fresh id, the same one when this request is replayed.
  template <class I>
  I new_id() {
    return next_id().as<I>();
  }

  // "http://host:8700", with /at/… if that stood before the path: what links begin with.
  std::string url(std::string_view path) const { return base_ + std::string(path); }
  // This request's own address, and that of the page after `marker`.
  std::string own_url() const { return next_url({}); }
  std::string next_url(std::string_view marker) const;

 private:
  friend class Exchange;
  AnyId next_id();

  Call call_;
  View view_;
  std::optional<View> present_;
  Actor actor_;
  Mistakes mistakes_;
  Mistakes unheard_;  // what is missing in a body that could not be read
  bool unreadable_ = false;
  std::optional<JsonDocument> document_;
  DecidedAnswer decided_;
  std::string base_;
  std::int64_t now_ms_ = 0;
  IntentId seed_;  // of ids
  std::uint64_t ids_ = 0;
  bool replayed_ = false;
};

inline Response json_response(int status, std::string body) {
  return {status, "application/json", std::move(body)};
}

// Cuts sorted rows to the page: what stands after the marker, at most the limit. False: there is no such
// marker. `more` is set when rows were left off at the end.
template <class Row, class IdOf>
bool cut_to_page(std::vector<Row>& rows, const Page& page, bool& more, IdOf id_of) {
  if (!page.marker.empty()) {
    std::size_t at = 0;
    while (at < rows.size() && id_of(rows[at]) != page.marker) ++at;
    if (at == rows.size()) return false;
    rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(at + 1));
  }
  more = rows.size() > page.limit;
  if (more) rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(page.limit), rows.end());
  return true;
}

}  // namespace reprise::api
