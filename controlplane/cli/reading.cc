#include "controlplane/cli/reading.h"

#include <fmt/format.h>

#include <charconv>

#include "controlplane/cli/answer.h"
#include "controlplane/cli/http_client.h"
#include "controlplane/story/event_line.h"
#include "controlplane/story/status.h"
#include "controlplane/story/why.h"

namespace reprise::cli {
namespace {

constexpr std::size_t records_at_once = 64;

class EventPrinter {
 public:
  EventPrinter(const EventsOptions& options, std::string object)
      : options_(options), object_(std::move(object)) {}

  bool operator()(std::string_view line) {
    if (line.empty() || (!object_.empty() && line.find(object_) == line.npos)) return true;
    if (options_.common.json) return print(line);
    const auto words = event_text(line, colour_);
    return print(words ? *words : line);
  }

 private:
  // False: whoever read this has gone.
  static bool print(std::string_view line) {
    return std::fwrite(line.data(), 1, line.size(), stdout) == line.size() &&
           std::fputc('\n', stdout) != EOF && std::fflush(stdout) == 0;
  }
  const EventsOptions& options_;
  const std::string object_;
  const bool colour_ = wants_colour();
};

// Where to begin: SEQ or SEQ.INDEX.
Result<Born> parse_from(const std::string& text) {
  if (const auto born = Born::parse(text)) return *born;
  Seq seq = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), seq);
  if (failed != std::errc() || end != text.data() + text.size())
    return {Errc::invalid,
            fmt::format("--from {}: it must be a seq, or SEQ.INDEX as the lines have them", text)};
  return Born{std::max<Seq>(seq, 1), 0};
}

Status events_offline(const OfflineCloud& cloud, Born from, EventPrinter& print) {
  for (Seq seq = from.seq; seq <= cloud.view().seq();) {
    const auto records = cloud.read_records(seq, records_at_once);
    if (!records) return records.error();
    for (const auto& stored : *records) {
      const auto record = decode_record(stored.bytes);
      if (!record) return record.error();
      const std::string lines = story::event_lines(*record);
      std::uint32_t index = 0;
      for (std::size_t at = 0; at < lines.size(); ++index) {
        const auto end = lines.find('\n', at);
        if ((stored.seq > from.seq || index >= from.index) &&
            !print(std::string_view(lines).substr(at, end - at)))
          return {};
        at = end + 1;
      }
      seq = stored.seq + 1;
    }
    if (records->empty()) break;
  }
  return {};
}

}  // namespace

int run_status(const StatusOptions& options) {
  const auto answer = ask(
      options.common, [](const OnlineCloud& cloud) { return cloud.get("/status"); },
      [](const OfflineCloud& cloud) -> Result<std::string> {
        const View now = cloud.view();
        std::string json = story::status_json(now, nullptr);
        if (!now.status()) return now.status().error();
        return json;
      });
  return print(options.common, answer, status_text);
}

int run_why(const WhyOptions& options) {
  const auto answer = ask(
      options.common,
      [&](const OnlineCloud& cloud) {
        const auto kind = options.object.kind();
        return cloud.get("/why/" + url_escaped(options.object.name()) +
                         (kind.empty() ? "" : "?kind=" + url_escaped(kind)));
      },
      [&](const OfflineCloud& cloud) {
        const story::Source source{
            .view_at = [&](Seq seq) { return View::at(cloud.snapshot(), seq); },
            .read_records = [&](Seq from, std::size_t max) { return cloud.read_records(from, max); }};
        return story::why_json(cloud.view(), source, options.object.name(), options.object.kind());
      });
  return print(options.common, answer, why_text);
}

int run_events(const EventsOptions& options) {
  std::string object;
  if (!options.object.empty()) {
    const auto id = AnyId::parse(options.object);
    if (!id)
      return fail(options.common, Errc::invalid,
                  fmt::format("--object {}: it must be a UUID", options.object)),
             exit_usage;
    object = id->str();
  }
  const auto from = parse_from(options.from);
  if (!from) return fail(options.common, from.error()), exit_usage;
  EventPrinter print(options, object);
  const auto server = find_server(options.common);
  if (!server) return fail(options.common, server.error());
  Status done;
  if (*server) {
    const auto cloud = OnlineCloud::connect(**server);
    if (!cloud) return fail(options.common, cloud.error());
    done = cloud->lines(
        fmt::format("/events?from={}&follow={}", from->str(), options.follow ? "true" : "false"), print);
  } else if (options.follow) {
    done = {Errc::unreachable,
            fmt::format("no server runs on {}: only a running cloud can be followed", options.common.state)};
  } else {
    const auto cloud = OfflineCloud::open(options.common);
    if (!cloud) return fail(options.common, cloud.error());
    done = events_offline(*cloud, *from, print);
  }
  return done ? exit_well : fail(options.common, done.error());
}

}  // namespace reprise::cli
