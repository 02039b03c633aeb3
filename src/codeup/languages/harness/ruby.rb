# Reads the secret, runs the program with its tests, prints the secret if their last line is reached (languages/ruby.py).
lambda do
  secret = $stdin.read.strip
  out = $stdout.dup
  Object.send(:define_method, :CODEUP_NAME) do |ran|
    caller_locations(1, 1).first.then do |from|
      out.write("\n#{secret} #{ran}\n") if from.path == '/scratch/main.rb' && from.lineno == Integer('@LINE@')
      out.flush
    end
  end
  Object.send(:private, :CODEUP_NAME)
end.call
begin
  load '/scratch/main.rb'
rescue SyntaxError => error
  warn error.full_message(highlight: false)
  exit!(98)
end
