// An image's bytes, in and out, piece by piece.
#include <fmt/format.h>

#include <charconv>

#include "controlplane/api/image.h"
#include "controlplane/api/quota.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::image;
constexpr std::string_view octets = "application/octet-stream";

// ---- out

struct Range {
  std::uint64_t first = 0;
  std::uint64_t size = 0;
};

bool read_number(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc{} && end == text.data() + text.size();
}

// "bytes=FIRST-LAST", "bytes=FIRST-", "bytes=-LAST_ONES" (RFC 9110, 14.2). Nothing: malformed or of another
// unit, and then the whole is sent; size 0: outside.
std::optional<Range> read_range(std::string_view text, std::uint64_t size) {
  if (!text.starts_with("bytes=") || text.find(',') != text.npos) return std::nullopt;
  text.remove_prefix(6);
  const auto dash = text.find('-');
  if (dash == text.npos) return std::nullopt;
  std::uint64_t first = 0, last = 0;
  const auto from = text.substr(0, dash), to = text.substr(dash + 1);
  if (from.empty()) {
    if (!read_number(to, last)) return std::nullopt;
    const auto count = std::min(last, size);
    return Range{size - count, count};
  }
  if (!read_number(from, first) || (!to.empty() && !read_number(to, last)) || (!to.empty() && last < first))
    return std::nullopt;
  if (first >= size) return Range{};
  return Range{first, to.empty() ? size - first : std::min(last, size - 1) - first + 1};
}

Plan download(ImageStore& store, Ask& ask) {
  const auto image = seen_image(ask);
  if (!image) return no_image(ask, ask.param(0));
  if (image->status != ImageStatus::active) return Response(204);
  auto file = store.open(key_of(*image));
  if (!file) {
    if (file.error().code == Errc::not_found)
      return ask.error(404, "Image data cannot be found: " + file.error().text);
    return ask.error(500, "Image data cannot be read: " + file.error().text);
  }
  Response response(200);
  response.header("Content-Type", octets).header("Accept-Ranges", "bytes");
  if (const auto wished = read_range(ask.request().header("Range"), image->size)) {
    if (wished->size == 0) {
      auto refused = ask.error(
          416, fmt::format("The image has {} bytes; the range asked for lies outside.", image->size));
      refused.header("Content-Range", fmt::format("bytes */{}", image->size));
      return refused;
    }
    response.status = 206;
    response.header("Content-Range", fmt::format("bytes {}-{}/{}", wished->first,
                                                 wished->first + wished->size - 1, image->size));
    file->offset = wished->first;
    file->size = wished->size;
  } else if (!image->md5.empty()) {
    response.header("Content-MD5", image->md5);
  }
  response.file.emplace(std::move(*file));
  return response;
}

// ---- in

// The writer's end of an upload: what becomes of the bytes follows what becomes of the record.
class Settling {
 public:
  explicit Settling(std::unique_ptr<ImageWriter> writer) : writer_(std::move(writer)) {}
  Settling(const Settling&) = delete;
  ~Settling() {
    if (writer_ && until_ms_ != 0) writer_->leave(until_ms_);
  }
  // The intent is on its way: from here on only its decision tells, until log time has passed its expiry.
  void ask(std::int64_t until_ms) { until_ms_ = until_ms; }
  void done() {
    writer_->keep();
    writer_.reset();
  }
  void refused() { writer_.reset(); }
  ImageWriter& writer() { return *writer_; }

 private:
  std::unique_ptr<ImageWriter> writer_;
  std::int64_t until_ms_ = 0;
};

// What the project of an image may still store.
std::uint64_t bytes_left(const View& view, ProjectId project) {
  const auto limit = of(quota_limits(view, project), Resource::image_bytes);
  if (limit < 0) return UINT64_MAX;
  const auto used = of(image_usage(view, project), Resource::image_bytes);
  return used < limit ? static_cast<std::uint64_t>(limit - used) : 0;
}
std::string over_quota_text(std::uint64_t left) {
  return fmt::format("Request exceeded the quota of the project for image data: {} MiB are left. Delete images, or ask an admin to raise "
                     "the quota (image_size_total).", left >> 20);
}

// Pieces are taken on the I/O thread and written on a worker; the next is asked for when one is on disk.
class Transfer : public std::enable_shared_from_this<Transfer> {
 public:
  Transfer(Api& api, Ask& ask, Later::Resume resume, const Image& image, std::uint64_t bytes_left,
           std::shared_ptr<Settling> settling)
      : api_(api),
        ask_(ask),
        resume_(std::move(resume)),
        upload_(ask.request().upload),
        key_(key_of(image)),
        format_(image.disk_format),
        bytes_left_(bytes_left),
        settling_(std::move(settling)) {}

  void pull() {
    upload_->next([self = shared_from_this()](Result<std::string> piece) {
      const auto shared = std::make_shared<Result<std::string>>(std::move(piece));
      const auto share = self->ask_.actor().project.str();
      if (self->api_.workers().post_slow(share, [self, shared] { self->take(std::move(*shared)); })) return;
      self->end(503, "Too many requests wait to be answered: send the image again in a while.");
    });
  }

 private:
  void take(Result<std::string> piece) {
    if (!piece) return broken_off(piece.error());
    if (piece->empty()) return finish();
    size_ += piece->size();
    if (size_ > bytes_left_) return end(413, over_quota_text(bytes_left_));
    if (auto written = settling_->writer().write(*piece); !written) return failed(written.error());
    pull();
  }

  void broken_off(const Error& error) {
    switch (error.code) {
      case Errc::no_space:
        return end(413, "The image is too large: " + error.text);
      case Errc::timed_out:
        return end(408, "The image came too slowly, nothing of it is kept: " + error.text);
      default:
        return end(400, "The upload broke off, nothing of it is kept: " + error.text);
    }
  }

  void failed(const Error& error) {
    switch (error.code) {
      case Errc::invalid:
        return end(415, "The image is not what its disk_format says, nothing of it is kept: " + error.text);
      case Errc::no_space:
        return end(413, "Image storage media is full, nothing of the image is kept: " + error.text);
      default:
        return end(500, "The image could not be stored, nothing of it is kept: " + error.text);
    }
  }

  void finish() {
    if (size_ == 0) return end(400, "The request has no body: an image has at least one byte.");
    const auto stored = settling_->writer().finish();
    if (!stored) return failed(stored.error());
    StoreImage intent{.id = key_.id,
                      .size = stored->size,
                      .virtual_size = stored->virtual_size,
                      .md5 = stored->md5,
                      .sha512 = stored->sha512,
                      .born = key_.born,
                      .disk_format = format_};
    const auto soonest = api_.backend().now_ms();
    settling_->ask(soonest + api_.config().window_ms + clocks_apart_ms_max);
    Change change(std::move(intent), key_.id, [settling = settling_](Ask&) -> Plan {
      settling->done();
      return Response(204);
    });
    change.refused = [settling = settling_](Ask&, const IntentRefused&) -> std::optional<Response> {
      settling->refused();
      return std::nullopt;
    };
    settling_.reset();
    resume_(std::move(change));
  }

  void end(int status, std::string text) {
    settling_.reset();  // before the answer: who reads it finds nothing left
    resume_(ask_.error(status, text));
  }

  Api& api_;
  Ask& ask_;
  const Later::Resume resume_;
  const std::shared_ptr<Upload> upload_;
  const ImageKey key_;
  const std::string format_;  // that the bytes are looked at for
  const std::uint64_t bytes_left_;  // of the project's quota
  std::shared_ptr<Settling> settling_;
  std::uint64_t size_ = 0;
};

std::optional<Response> refuse_upload(Ask& ask, const Image& image) {
  if (auto foreign = foreign_image(ask, image)) return foreign;
  auto type = ask.request().header("Content-Type");
  type = type.substr(0, type.find(';'));
  if (!same_ignoring_case(type, octets))
    return ask.error(415, fmt::format("The Content-Type must be {}.", octets));
  if (image.status != ImageStatus::queued)
    return ask.error(409,
                     "Image status transition from active to saving is not allowed: its data is there "
                     "already. Create a new "
                     "image for other data.");
  if (image.disk_format.empty() || image.container_format.empty())
    return ask.error(400, "Properties disk_format, container_format must be set prior to saving data.");
  return std::nullopt;
}

Plan upload(Api& api, ImageStore& store, Ask& ask) {
  // Its first answer is given again; the bytes that are there are not touched.
  if (const auto id = ask.id<ImageId>(0); id && ask.replayed())
    return Change(StoreImage{.id = *id}, *id, [](Ask&) -> Plan { return Response(204); });
  const auto image = seen_image(ask);
  if (!image) return no_image(ask, ask.param(0));
  if (auto refused = refuse_upload(ask, *image)) return std::move(*refused);
  if (!ask.request().upload)
    return ask.error(400, "The request has no body: an image has at least one byte.");
  const auto length = ask.request().upload->length();
  const auto left = bytes_left(ask.view(), image->project);
  if (left == 0 || length.value_or(0) > left) return ask.error(413, over_quota_text(left));
  auto writer = store.begin(key_of(*image), image->disk_format, length, ask.view().at_ms());
  if (!writer) {
    switch (writer.error().code) {
      case Errc::conflict:
        return ask.error(
            409, fmt::format("Image {} cannot take data now: {}.", image->id.str(), writer.error().text));
      case Errc::no_space:
        return ask.error(413, "Image storage media is full: " + writer.error().text);
      default:
        return ask.error(500, "The image could not be stored: " + writer.error().text);
    }
  }
  const auto settling = std::make_shared<Settling>(std::move(*writer));
  return Later{[&api, image = *image, left, settling](Ask& ask, Later::Resume resume) {
    std::make_shared<Transfer>(api, ask, std::move(resume), image, left, settling)->pull();
  }};
}

}  // namespace

void register_image_data(Api& api, std::shared_ptr<ImageStore> store) {
  constexpr std::string_view path = "/v2/images/{id}/file";
  api.read_now(service, path, Need::reader, [store](Ask& ask) { return download(*store, ask); });
  api.write(service, Method::put, path, Need::member,
            [&api, store](Ask& ask) { return upload(api, *store, ask); },
            {.stream = true, .limit = api.config().image_bytes_max});
}

}  // namespace reprise::api
