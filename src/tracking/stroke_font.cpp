#include "tracking/stroke_font.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace mizzen::tracking::detail {
namespace {

// A glyph is its width, '|', and strokes with spaces between. A stroke is a run of points, two
// digits each: x to the right, y downwards (0 top of capitals, 3 top of small letters, 8 base line,
// a and b below it). '~' begins a curve: its inner points attract it (quadratic B-spline).
constexpr std::array<std::string_view, 95> ascii = {
    "1|",
    "0|0005 0808",
    "2|0002 2022",
    "6|2018 5048 0363 0565",
    "6|~6261010464670706 3038",
    "7|7018 ~102023030010 ~657578585565",
    "7|~781210404305085874",
    "0|0002",
    "2|~20020628",
    "2|~00222608",
    "4|2125 0244 0442",
    "6|3238 0565",
    "1|180a",
    "4|0545",
    "0|0808",
    "4|4008",
    "5|~040050580804",
    "5|123038",
    "5|~0200505408 0858",
    "5|~0200505424 ~2454580806",
    "5|48400656",
    "5|500004 ~040353580807",
    "5|~400005 ~050353580805",
    "5|005028",
    "5|~020050540402 ~060454580806",
    "5|~535505005053 ~535818",
    "0|0404 0808",
    "1|1414 180a",
    "5|520558",
    "5|0454 0656",
    "5|025508",
    "4|~0200404425 2526 2828",
    "8|~78080080866663 ~646222266664",
    "6|083068 1555",
    "5|20000828 0424 ~20505424 ~24545828",
    "6|~626000086866",
    "6|20000828 ~20606828",
    "5|50000858 0444",
    "5|500008 0444",
    "6|~626000086864 6434",
    "6|0008 6068 0464",
    "0|0008",
    "4|4046 ~46480806",
    "5|0008 5005 2358",
    "5|000858",
    "6|0800356068",
    "6|08006860",
    "6|~040060680804",
    "5|080020 ~20505424 2404",
    "6|~040060680804 4668",
    "5|080020 ~20505424 2404 2458",
    "6|~6260000464680806",
    "6|0060 3038",
    "6|0005 ~05086865 6560",
    "6|003860",
    "8|0028426880",
    "6|0068 6008",
    "6|003460 3438",
    "6|00600868",
    "2|20000929",
    "4|0048",
    "2|00202909",
    "4|022042",
    "5|0959",
    "1|0011",
    "4|~230308484323 4348",
    "4|~230308484323 0008",
    "4|~444303084847",
    "4|~230308484323 4048",
    "4|~454303084847 0545",
    "3|~301012 1218 0333",
    "4|~230308484323 4349 ~494b0b0a",
    "4|0008 ~05034345 4548",
    "0|0308 0101",
    "2|2329 ~292b0b 2121",
    "4|0008 4306 1548",
    "0|0008",
    "6|0308 ~05033335 3538 ~35336365 6568",
    "4|0308 ~05034345 4548",
    "4|~230308484323",
    "4|~230308484323 030b",
    "4|~230308484323 434b",
    "3|0308 ~050333",
    "4|~4443030546480807",
    "3|1116 ~161838 0333",
    "4|0306 ~06084846 4348",
    "4|032843",
    "6|0318345863",
    "4|0348 4308",
    "4|0328 431b",
    "4|03430848",
    "3|~30101404 ~04141939",
    "0|0009",
    "3|~00202434 ~34242909",
    "5|~06134653",
};

constexpr std::string_view box = "4|0040480800";

struct extra {
  char32_t code;
  std::string_view glyph;
};
constexpr std::array<extra, 14> extras = {{{0xb0, "2|~010020230301"},
                                           {0xb1, "6|3136 0464 0868"},
                                           {0xb5, "4|030b ~06084846 4348"},
                                           {0xb7, "0|0505"},
                                           {0xc6, "8|0840 80404888 1545 4474"},
                                           {0xd7, "4|1448 4418"},
                                           {0xdf, "4|~0802004024 ~24444818"},
                                           {0xe6, "8|~230308484323 4348 ~858343488887 4585"},
                                           {0xf7, "6|0565 3333 3737"},
                                           {0x2013, "5|0555"},
                                           {0x2014, "8|0585"},
                                           {0x2022, "2|1515 1425"},
                                           {0x2026, "6|0808 3838 6868"},
                                           {0x2212, "6|0565"}}};

// U+00C0 to U+00FF: the letter below the accent, and the accent.
constexpr std::string_view latin_letters =
    "AAAAAA CEEEEIIIIDNOOOOO OUUUUY  aaaaaa ceeeeiiii nooooo ouuuuy y";
constexpr std::string_view latin_accents =
    "`'^~:o ,`'^:`'^: ~`'^~: /`'^:'  `'^~:o ,`'^:`'^: ~`'^~: /`'^:' :";

static_assert(latin_letters.size() == 64 && latin_accents.size() == 64);

int digit(char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; }

struct glyph {
  std::string_view strokes;
  double width = 0;
  char accent = ' ';
  double accent_top = 0;
};

glyph parsed(std::string_view text) {
  return {text.substr(2), static_cast<double>(digit(text[0]))};
}

glyph glyph_of(char32_t code) {
  if (code >= 0x20 && code < 0x7f) return parsed(ascii[code - 0x20]);
  if (code == 0xa0) return parsed(ascii[0]);
  for (const extra& one : extras) {
    if (one.code == code) return parsed(one.glyph);
  }
  if (code >= 0xc0 && code <= 0xff && latin_letters[code - 0xc0] != ' ') {
    const char letter = latin_letters[code - 0xc0];
    glyph found = parsed(ascii[static_cast<std::size_t>(letter) - 0x20]);
    // A small i loses its dot.
    if (letter == 'i') found.strokes = "0308";
    found.accent = latin_accents[code - 0xc0];
    found.accent_top = letter >= 'a' ? 0.2 : -2.6;
    return found;
  }
  return parsed(box);
}

// The next character of UTF-8 text, which it takes off; U+FFFD for what is none.
char32_t take_character(std::string_view& text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80             ? 1
                             : (first & 0xe0) == 0xc0 ? 2
                             : (first & 0xf0) == 0xe0 ? 3
                             : (first & 0xf8) == 0xf0 ? 4
                                                      : 0;
  char32_t code = length == 1 ? first : first & (0x7fU >> length);
  bool whole = length > 0 && length <= text.size();
  for (std::size_t i = 1; whole && i < length; ++i) {
    whole = (byte(i) & 0xc0) == 0x80;
    code = code << 6 | (byte(i) & 0x3fU);
  }
  text.remove_prefix(whole ? length : 1);
  return whole ? code : 0xfffd;
}

std::vector<std::vector<point>> strokes_of(std::string_view text) {
  std::vector<std::vector<point>> out;
  while (!text.empty()) {
    std::string_view stroke = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), stroke.size() + 1));
    const bool curved = stroke.starts_with('~');
    if (curved) stroke.remove_prefix(1);
    std::vector<point> control;
    for (std::size_t i = 0; i + 1 < stroke.size(); i += 2) {
      control.push_back(
          {static_cast<double>(digit(stroke[i])), static_cast<double>(digit(stroke[i + 1]))});
    }
    if (!curved || control.size() < 3) {
      if (!control.empty()) out.push_back(std::move(control));
      continue;
    }
    std::vector<point> line = {control.front()};
    for (std::size_t i = 1; i + 1 < control.size(); ++i) {
      const point from = line.back(), by = control[i], next = control[i + 1];
      const point to =
          i + 2 == control.size() ? next : point{(by.x + next.x) / 2, (by.y + next.y) / 2};
      constexpr int pieces = 5;
      for (int piece = 1; piece <= pieces; ++piece) {
        const double t = static_cast<double>(piece) / pieces, s = 1 - t;
        line.push_back({s * s * from.x + 2 * s * t * by.x + t * t * to.x,
                        s * s * from.y + 2 * s * t * by.y + t * t * to.y});
      }
    }
    out.push_back(std::move(line));
  }
  return out;
}

// Accents in units, x from the middle of the letter and y from their top.
std::vector<std::vector<point>> accent_strokes(char accent) {
  switch (accent) {
    case '`':
      return {{{-1, 0}, {0.5, 1.6}}};
    case '\'':
      return {{{1, 0}, {-0.5, 1.6}}};
    case '^':
      return {{{-1.5, 1.6}, {0, 0}, {1.5, 1.6}}};
    case '~':
      return {{{-2, 1.4}, {-1, 0.6}, {1, 1.4}, {2, 0.6}}};
    case ':':
      return {{{-1.2, 1}, {-1.2, 1}}, {{1.2, 1}, {1.2, 1}}};
    case 'o':
      return {{{0, 0}, {0.8, 0.8}, {0, 1.6}, {-0.8, 0.8}, {0, 0}}};
    default:
      return {};
  }
}

constexpr double unit = 0.09;    // of the font's size
constexpr double spacing = 2.2;  // units between letters

}  // namespace

double pen_width(const label& text) { return text.size * (text.bold ? 0.13 : 0.085); }

double text_width(std::string_view text, double size) {
  double units = 0;
  while (!text.empty()) units += glyph_of(take_character(text)).width + spacing;
  return units * unit * size;
}

std::vector<std::vector<point>> text_strokes(const label& text) {
  const double scale = text.size * unit;
  const double width = text_width(text.text, text.size) - spacing * scale;
  double left = 0;
  if (text.anchor == anchor::middle) left = -width / 2;
  if (text.anchor == anchor::end) left = -width;

  std::vector<std::vector<point>> out;
  const auto place = [&](std::vector<point> stroke, double x, double y) {
    for (point& p : stroke) {
      const double dx = left + (p.x + x) * scale, dy = (p.y + y - 8) * scale;
      p = text.upright ? point{text.at.x + dy, text.at.y - dx}
                       : point{text.at.x + dx, text.at.y + dy};
    }
    out.push_back(std::move(stroke));
  };
  double at = 0;
  std::string_view rest = text.text;
  while (!rest.empty()) {
    const glyph one = glyph_of(take_character(rest));
    for (auto& stroke : strokes_of(one.strokes)) place(std::move(stroke), at, 0);
    if (one.accent == ',') {
      place({{0, 8}, {0.4, 9}, {-0.6, 10}}, at + one.width / 2, 0);
    } else if (one.accent == '/') {
      place({{one.width, one.accent_top < 0 ? 0.0 : 3.0}, {0, 8}}, at, 0);
    } else {
      for (auto& stroke : accent_strokes(one.accent)) {
        place(std::move(stroke), at + one.width / 2, one.accent_top);
      }
    }
    at += one.width + spacing;
  }
  return out;
}

}  // namespace mizzen::tracking::detail
