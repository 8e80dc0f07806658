// reprise_load: clients that ask a running server as fast as it answers, and what that took. One JSON object a line.
//
//   reprise_load [-c CLIENTS] [-n REQUESTS] [-t SECONDS] [-H HEADER]… METHOD URL [BODY]
//       whichever of REQUESTS and SECONDS ends first; {i} in URL and BODY is the request's number
//   reprise_load [-n SERVERS] [-H HEADER]… active URL BODY
//       one after the other: POST, then GET until it is ACTIVE
//   reprise_load [-n SERVERS] [-H HEADER]… burst URL BODY
//       all at once: from the first POST to the last ACTIVE
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Url {
  std::string host, port, path;
};

Url parse_url(const std::string& text) {
  const std::string rest = text.substr(text.find("://") + 3);
  const auto slash = rest.find('/');
  const std::string place = rest.substr(0, slash);
  const auto colon = place.find(':');
  return {place.substr(0, colon), colon == place.npos ? "80" : place.substr(colon + 1), rest.substr(slash)};
}

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "reprise_load: {}\n", why);
  std::_Exit(1);
}

// One connection that is kept; opened again when the server closes it.
class Client {
 public:
  Client(Url url, std::vector<std::string> headers) : url_(std::move(url)), headers_(std::move(headers)) {}
  ~Client() { close(); }

  // The status; `body` gets the answer's.
  int ask(const std::string& method, const std::string& path, const std::string& body_out,
          std::string& body) {
    std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", method, path, url_.host);
    for (const auto& header : headers_) text += header + "\r\n";
    if (!body_out.empty())
      text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body_out.size());
    text += "\r\n" + body_out;
    if (fd_ < 0) open();
    if (::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
      give_up("the server closed the connection");
    return receive(body);
  }
  const Url& url() const { return url_; }

 private:
  void open() {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (::getaddrinfo(url_.host.c_str(), url_.port.c_str(), &hints, &found) != 0)
      give_up("no such host: " + url_.host);
    fd_ = ::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    if (::connect(fd_, found->ai_addr, found->ai_addrlen) != 0)
      give_up(fmt::format("{}:{}: {}", url_.host, url_.port, std::strerror(errno)));
    ::freeaddrinfo(found);
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void more() {
    char part[65536];
    const ssize_t n = ::recv(fd_, part, sizeof part, 0);
    if (n <= 0) give_up("the server closed the connection in the middle of an answer");
    held_.append(part, static_cast<std::size_t>(n));
  }
  int receive(std::string& body) {
    std::size_t end;
    while ((end = held_.find("\r\n\r\n")) == held_.npos) more();
    std::string head = held_.substr(0, end);
    std::transform(head.begin(), head.end(), head.begin(), [](unsigned char c) { return std::tolower(c); });
    const int status = std::atoi(head.c_str() + head.find(' ') + 1);
    const auto length_at = head.find("content-length:");
    const std::size_t length =
        length_at == head.npos ? 0 : std::strtoull(head.c_str() + length_at + 15, nullptr, 10);
    while (held_.size() < end + 4 + length) more();
    body = held_.substr(end + 4, length);
    held_.erase(0, end + 4 + length);
    if (head.find("connection: close") != head.npos) close();
    return status;
  }

  const Url url_;
  const std::vector<std::string> headers_;
  int fd_ = -1;
  std::string held_;
};

std::string filled(std::string text, std::size_t number) {
  for (auto at = text.find("{i}"); at != text.npos; at = text.find("{i}", at))
    text.replace(at, 3, std::to_string(number));
  return text;
}

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double quantile(const std::vector<double>& sorted, double q) {
  return sorted.empty() ? 0
                        : sorted[std::min(sorted.size() - 1,
                                          static_cast<std::size_t>(q * static_cast<double>(sorted.size())))];
}

void print(std::vector<double> times, double seconds, const std::map<int, std::size_t>& statuses) {
  std::sort(times.begin(), times.end());
  std::string list;
  for (const auto& [status, count] : statuses)
    list += fmt::format("{}\"{}\":{}", list.empty() ? "" : ",", status, count);
  fmt::print(
      "{{\"requests\":{},\"seconds\":{:.3f},\"per_second\":{:.1f},\"p50_ms\":{:.3f},\"p99_ms\":{:.3f},"
      "\"p999_ms\":{:.3f},\"max_ms\":{:.3f},\"statuses\":{{{}}}}}\n",
      times.size(), seconds, static_cast<double>(times.size()) / seconds, quantile(times, 0.5),
      quantile(times, 0.99), quantile(times, 0.999), times.empty() ? 0 : times.back(), list);
}

struct Options {
  std::size_t clients = 1, requests = 1000;
  double seconds = 3600;
  std::vector<std::string> headers;
  std::vector<std::string> words;
};

void load(const Options& options) {
  const Url url = parse_url(options.words[1]);
  const std::string body = options.words.size() > 2 ? options.words[2] : "";
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::vector<double> times;
  std::map<int, std::size_t> statuses;
  const auto begin = Clock::now();
  const auto in_time = [&] { return ms_since(begin) < options.seconds * 1000; };
  std::vector<std::thread> threads;
  for (std::size_t c = 0; c < options.clients; ++c)
    threads.emplace_back([&] {
      Client client(url, options.headers);
      std::vector<double> mine;
      std::map<int, std::size_t> seen;
      std::string answer;
      for (std::size_t i; in_time() && (i = next++) < options.requests;) {
        const auto asked = Clock::now();
        ++seen[client.ask(options.words[0], filled(url.path, i), filled(body, i), answer)];
        mine.push_back(ms_since(asked));
      }
      const std::lock_guard lock(mutex);
      times.insert(times.end(), mine.begin(), mine.end());
      for (const auto& [status, count] : seen) statuses[status] += count;
    });
  for (auto& thread : threads) thread.join();
  print(std::move(times), ms_since(begin) / 1000, statuses);
}

std::string id_in(const std::string& answer) {
  const auto at = answer.find("\"id\":\"");
  if (at == answer.npos) give_up("no server was made: " + answer);
  return answer.substr(at + 6, 36);
}

// Asks again as soon as it was answered: each GET waits until all that was in the log is folded.
void until_active(Client& client, const std::string& id) {
  std::string answer;
  const auto deadline = Clock::now() + std::chrono::seconds(60);
  do {
    client.ask("GET", client.url().path + "/" + id, "", answer);
    if (answer.find("\"status\":\"ERROR\"") != answer.npos || Clock::now() > deadline)
      give_up("it does not become ACTIVE: " + answer);
  } while (answer.find("\"status\":\"ACTIVE\"") == answer.npos);
}

void active(const Options& options) {
  Client client(parse_url(options.words[1]), options.headers);
  std::vector<double> times;
  const auto begin = Clock::now();
  for (std::size_t i = 0; i < options.requests; ++i) {
    std::string answer;
    const auto asked = Clock::now();
    client.ask("POST", client.url().path, filled(options.words[2], i), answer);
    until_active(client, id_in(answer));
    times.push_back(ms_since(asked));
  }
  print(std::move(times), ms_since(begin) / 1000, {});
}

void burst(const Options& options) {
  const Url url = parse_url(options.words[1]);
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<double> times;
  const auto begin = Clock::now();
  constexpr std::size_t clients = 50;
  std::atomic<std::size_t> next = 0;
  for (std::size_t c = 0; c < clients; ++c)
    threads.emplace_back([&] {
      Client client(url, options.headers);
      std::vector<std::string> ids;
      std::string answer;
      for (std::size_t i; (i = next++) < options.requests;) {
        client.ask("POST", url.path, filled(options.words[2], i), answer);
        ids.push_back(id_in(answer));
      }
      for (const auto& id : ids) {
        until_active(client, id);
        const std::lock_guard lock(mutex);
        times.push_back(ms_since(begin));
      }
    });
  for (auto& thread : threads) thread.join();
  print(std::move(times), ms_since(begin) / 1000, {});
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] { return i + 1 < argc ? std::string(argv[++i]) : std::string(); };
    if (word == "-c") options.clients = std::strtoull(value().c_str(), nullptr, 10);
    else if (word == "-n") options.requests = std::strtoull(value().c_str(), nullptr, 10);
    else if (word == "-t") options.seconds = std::atof(value().c_str());
    else if (word == "-H") options.headers.push_back(value());
    else options.words.push_back(word);
  }
  const bool whole = options.words.size() == 3;
  if (whole && options.words[0] == "active") active(options);
  else if (whole && options.words[0] == "burst") burst(options);
  else if (options.words.size() >= 2) load(options);
  else
    return fmt::print(stderr,
                      "usage: reprise_load [-c CLIENTS] [-n REQUESTS] [-t SECONDS] [-H HEADER]… METHOD|active|burst URL "
                      "[BODY]\n"),
           2;
}
