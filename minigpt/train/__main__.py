from minigpt.train.cli import main

main()
