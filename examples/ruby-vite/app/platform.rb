require "openssl"

# The versions of what lies below the application, asked at run time.
module Platform
  PACKAGES = %w[base-files libc6 libruby3.3 libssl3t64 puma ruby-rack ruby-sinatra].freeze
  OS_RELEASE = "/etc/os-release".freeze
  DPKG_STATUS = "/var/lib/dpkg/status".freeze

  def self.versions
    @versions ||= {
      "os" => File.read(OS_RELEASE)[/^PRETTY_NAME="?([^"\n]*)/, 1],
      "ruby" => RUBY_DESCRIPTION,
      "openssl" => OpenSSL::OPENSSL_LIBRARY_VERSION,
      **packages
    }.freeze
  end

  # Reads the installed version of each package named above.
  def self.packages
    File.read(DPKG_STATUS).split("\n\n").each_with_object({}) do |entry, found|
      name = entry[/^Package: (.*)/, 1]
      found[name] = entry[/^Version: (.*)/, 1] if PACKAGES.include?(name)
    end.sort.to_h
  end
  private_class_method :packages
end
