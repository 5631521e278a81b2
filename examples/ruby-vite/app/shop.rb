require "cgi/util"
require "json"
require "sinatra/base"
require_relative "catalog"
require_relative "platform"

# The web process: the page that Vite built, and the data behind it.
class Shop < Sinatra::Base
  set :public_folder, File.expand_path("../public", __dir__)
  set :static_cache_control, [:public, { max_age: 3600 }]

  PAGE = File.read(File.join(public_folder, "index.html")).freeze

  get "/" do
    lines = Platform.versions.map { |name, version| "#{name.ljust(13)}#{version}\n" }
    PAGE.sub("<!--platform-->") { CGI.escapeHTML(lines.join) }
  end

  get "/api/platform" do
    content_type :json
    JSON.generate(Platform.versions)
  end

  get "/api/search" do
    content_type :json
    JSON.generate(Catalog.search(params.fetch("q", "")))
  end
end
