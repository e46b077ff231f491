#include "tracking/scene.hpp"

#include <algorithm>
#include <charconv>

namespace mizzen::tracking::detail {
namespace {

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // XML has no way to write the other control characters.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\t' || c == '\n') out += c;
    }
  }
  return out;
}

std::string number(double value) { return short_number(value, 2); }

std::string hex(const colour& c) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "#";
  for (const int part : {c.red, c.green, c.blue}) {
    out += digits[static_cast<std::size_t>(part / 16)];
    out += digits[static_cast<std::size_t>(part % 16)];
  }
  return out;
}

std::string paint(std::string_view property, const std::optional<colour>& c) {
  std::string out = " " + std::string(property) + "=\"" + (c ? hex(*c) : "none") + "\"";
  if (c && c->opacity < 1) {
    out += " " + std::string(property) + "-opacity=\"" + number(c->opacity) + "\"";
  }
  return out;
}

std::string coordinates(const std::vector<point>& points) {
  std::string out = " points=\"";
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i > 0) out += ' ';
    out += number(points[i].x) + "," + number(points[i].y);
  }
  return out + "\"";
}

struct svg_writer {
  std::string& out;

  void operator()(const rectangle& r) const {
    out += "<rect x=\"" + number(r.at.x) + "\" y=\"" + number(r.at.y) + "\" width=\"" +
           number(r.width) + "\" height=\"" + number(r.height) + "\"" + paint("fill", r.fill);
    if (r.edge) out += paint("stroke", r.edge);
    out += r.title.empty() ? "/>\n" : "><title>" + xml_escaped(r.title) + "</title></rect>\n";
  }
  void operator()(const polyline& l) const {
    out += "<polyline" + coordinates(l.points) + " fill=\"none\"" + paint("stroke", l.stroke) +
           " stroke-width=\"" + number(l.width) + "\" stroke-linejoin=\"round\" stroke-linecap=\"" +
           (l.dashed ? "butt" : "round") + "\"";
    if (l.dashed) out += " stroke-dasharray=\"" + number(dash_on) + " " + number(dash_off) + "\"";
    out += "/>\n";
  }
  void operator()(const polygon& p) const {
    out += "<polygon" + coordinates(p.points) + paint("fill", p.fill) + "/>\n";
  }
  void operator()(const label& l) const {
    constexpr std::string_view anchors[] = {"start", "middle", "end"};
    const std::string x = number(l.at.x), y = number(l.at.y);
    out += "<text x=\"" + x + "\" y=\"" + y + "\" text-anchor=\"" +
           std::string(anchors[static_cast<std::size_t>(l.anchor)]) + "\" font-size=\"" +
           number(l.size) + "\"" + paint("fill", l.fill);
    if (l.bold) out += " font-weight=\"bold\"";
    if (l.upright) out += " transform=\"rotate(-90 " + x + " " + y + ")\"";
    out += ">" + xml_escaped(l.text) + "</text>\n";
  }
};

}  // namespace

std::string fixed_number(double value, int digits) {
  char text[400];
  const auto end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits).ptr;
  std::string out(text, end);
  const bool zero = out.find_first_not_of("-0.") == std::string::npos;
  return zero && out.starts_with('-') ? out.substr(1) : out;
}

std::string short_number(double value, int digits) {
  std::string out = fixed_number(value, digits);
  if (out.find('.') == std::string::npos) return out;
  out.erase(out.find_last_not_of('0') + 1);
  if (out.ends_with('.')) out.pop_back();
  return out;
}

std::string scene_to_svg(const scene& drawn) {
  const std::string width = number(drawn.width), height = number(drawn.height);
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" +
                    height + "\" viewBox=\"0 0 " + width + " " + height +
                    "\" font-family=\"sans-serif\">\n"
                    "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  for (const element& one : drawn.elements) std::visit(svg_writer{out}, one);
  return out + "</svg>\n";
}

}  // namespace mizzen::tracking::detail
