#include "agents/compute/server_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "agents/compute/config_drive.h"
#include "agents/compute/console_log.h"

namespace reprise::compute {
namespace {

namespace fs = std::filesystem;

Error file_error(const std::string& what, const std::error_code& error) {
  const auto code = error.value() == ENOSPC   ? Errc::no_space
                    : error.value() == ENOENT ? Errc::not_found
                                              : Errc::broken;
  return {code, fmt::format("{}: {}", what, error.message())};
}

}  // namespace

ServerFiles::ServerFiles(std::string state, storage::ImagePath image_path, OpenSealed open_sealed)
    : state_(std::move(state)), image_path_(std::move(image_path)), open_sealed_(std::move(open_sealed)) {}

std::string ServerFiles::folder(ServerId id, Born born) const {
  return fmt::format("{}/servers/{}.{}", state_, id.str(), born.str());
}

Status ServerFiles::open() {
  std::error_code error;
  fs::remove_all(state_ + "/scratch", error);
  if (!error) fs::create_directories(state_ + "/servers", error);
  if (!error) fs::create_directory(state_ + "/scratch", error);
  if (error) return file_error("compute state folder " + state_, error);
  // QEMU may run under a user of its own: it may pass through to the files that libvirt gives it.
  for (const char* open_folder : {"", "/servers"})
    if (chmod((state_ + open_folder).c_str(), 0711) != 0)
      return file_error("protecting " + state_ + open_folder,
                        std::error_code(errno, std::generic_category()));
  // User data is in the clear here for a moment.
  if (chmod((state_ + "/scratch").c_str(), 0700) != 0)
    return file_error("protecting " + state_ + "/scratch", std::error_code(errno, std::generic_category()));
  return {};
}

Status ServerFiles::fetch(ImageId image, const char* what, const std::string& path) {
  if (access(path.c_str(), F_OK) == 0) return {};
  const auto source = image_path_(image);
  if (!source)
    return {source.error().code, fmt::format("{} image {}: {}", what, image.str(), source.error().text)};
  std::error_code error;
  fs::create_hard_link(*source, path, error);
  if (!error) return {};
  const auto temporary = fmt::format("{}/scratch/{}", state_, what);
  error.clear();
  fs::copy_file(*source, temporary, fs::copy_options::overwrite_existing, error);
  if (!error) fs::rename(temporary, path, error);
  if (!error) return {};
  std::error_code ignored;
  fs::remove(temporary, ignored);
  return file_error(fmt::format("copying the {} image {} to {}", what, image.str(), path), error);
}

Status ServerFiles::burn_config_drive(const ServerWant& server, const std::string& path) {
  if (access(path.c_str(), F_OK) == 0) return {};
  std::vector<std::uint8_t> user_data;
  if (!server.guest.user_data_sealed.empty()) {
    auto opened = open_sealed_(server.guest.project, server.guest.user_data_sealed);
    if (!opened)
      return {opened.error().code,
              fmt::format("user data of server {}: {}", server.id.str(), opened.error().text)};
    user_data = std::move(*opened);
  }
  return make_config_drive(server, user_data, state_ + "/scratch", path);
}

Result<ServerPaths> ServerFiles::prepare(const ServerWant& server) {
  ServerPaths paths;
  paths.folder = folder(server.id, server.born);
  paths.console_log = paths.folder + "/console.log";
  std::error_code error;
  fs::create_directory(paths.folder, error);
  if (error) return file_error("making " + paths.folder, error);
  if (chmod(paths.folder.c_str(), 0711) != 0)
    return file_error("protecting " + paths.folder, std::error_code(errno, std::generic_category()));
  if (server.kernel) {
    paths.kernel = paths.folder + "/kernel";
    if (auto done = fetch(*server.kernel, "kernel", paths.kernel); !done) return done.error();
  }
  if (server.kernel && server.ramdisk) {
    paths.ramdisk = paths.folder + "/ramdisk";
    if (auto done = fetch(*server.ramdisk, "ramdisk", paths.ramdisk); !done) return done.error();
  }
  if (server.config_drive) {
    paths.config_drive = paths.folder + "/config.iso";
    if (auto done = burn_config_drive(server, paths.config_drive); !done) return done.error();
  }
  return paths;
}

Status ServerFiles::remove(ServerId id, Born born) {
  std::error_code error;
  fs::remove_all(folder(id, born), error);
  if (error) return file_error("removing " + folder(id, born), error);
  return {};
}

Status ServerFiles::sweep(const std::set<std::pair<ServerId, Born>>& keep) {
  std::error_code error;
  fs::directory_iterator entries(state_ + "/servers", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error)) {
    const auto name = entries->path().filename().string();
    if (name.size() < 38 || name[36] != '.') continue;
    const auto id = ServerId::parse(name.substr(0, 36));
    const auto born = Born::parse(name.substr(37));
    if (!id || !born || keep.contains({*id, *born})) continue;
    if (auto removed = remove(*id, *born); !removed) return removed;
  }
  if (error) return file_error("listing " + state_ + "/servers", error);
  return {};
}

std::string ServerFiles::console_log(ServerId id) const {
  const auto head = id.str() + ".";
  std::optional<Born> youngest;
  std::error_code error;
  fs::directory_iterator entries(state_ + "/servers", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error)) {
    const auto name = entries->path().filename().string();
    if (!name.starts_with(head)) continue;
    const auto born = Born::parse(name.substr(head.size()));
    if (born && (!youngest || *youngest < *born)) youngest = born;
  }
  return youngest ? folder(id, *youngest) + "/console.log" : std::string();
}

void ServerFiles::trim_console_logs() const {
  std::error_code error;
  fs::directory_iterator entries(state_ + "/servers", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error))
    trim_console_log(entries->path().string() + "/console.log");
}

}  // namespace reprise::compute
