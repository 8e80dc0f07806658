#include "controlplane/api/moment.h"

#include <fmt/format.h>

#include "controlplane/api/json_writer.h"

namespace reprise::api {
namespace {

std::string record_words(const RecordLine& line, Seq seq) {
  return fmt::format("seq {} of {}", seq, time_micros_z(static_cast<std::uint64_t>(line.at_ms)));
}

Result<Seq> seq_of(const View& now, AtSeq at) {
  if (at.seq == 0) return {Errc::not_found, "The history begins with seq 1."};
  if (at.seq <= now.seq()) return at.seq;
  return {Errc::not_found, fmt::format("Seq {} is not there yet: the newest is {}.", at.seq,
                                       record_words(now.line(), now.seq()))};
}

Result<Seq> seq_of(const View& now, AtTime at, std::int64_t wall_ms) {
  const auto ms = static_cast<std::int64_t>(at.ms);
  if (ms > std::max(now.at_ms(), wall_ms))
    return {Errc::invalid, fmt::format("{} lies in the future: the newest record is {}.",
                                       time_micros_z(at.ms), record_words(now.line(), now.seq()))};
  if (const Seq seq = now.seq_at(ms)) return seq;
  const auto first = now.line_of(1);
  if (!first) return now.status() ? Error{Errc::not_found, "There is no history yet."} : now.status().error();
  return {Errc::not_found, fmt::format("{} lies before the beginning of this cloud: it begins with {}.",
                                       time_micros_z(at.ms), record_words(*first, 1))};
}

}  // namespace

int moment_status(Errc code) {
  switch (code) {
    case Errc::not_found:
      return 404;
    case Errc::invalid:
      return 400;
    case Errc::unsupported:
      return 410;
    default:
      return 503;
  }
}

std::string readable_json(const View& now) {
  std::string out;
  JsonWriter json(out);
  const auto write = [&](const char* end, Seq seq) {
    const auto line = now.line_of(seq);
    json.object(end).field("seq", seq);
    json.field("at", line ? time_micros_z(static_cast<std::uint64_t>(line->at_ms)) : "").end_object();
  };
  json.begin_object();
  write("from", std::min(now.history_from(), now.seq())), write("to", now.seq());
  json.end_object();
  return out;
}

Result<Seq> seq_of(const View& now, const Moment& moment, std::int64_t wall_ms) {
  if (const auto* at = std::get_if<AtSeq>(&moment)) return seq_of(now, *at);
  return seq_of(now, std::get<AtTime>(moment), wall_ms);
}

Result<Seq> seq_of(const View& now, std::string_view text, std::int64_t wall_ms) {
  if (const auto moment = parse_moment(text)) return seq_of(now, *moment, wall_ms);
  return {Errc::invalid, fmt::format("'{}' {}.", text, not_a_moment)};
}

}  // namespace reprise::api
